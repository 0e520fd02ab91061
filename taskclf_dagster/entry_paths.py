"""Paths that a person gives, made absolute once, where they enter: variables of the environment, options, launch forms.

A relative path of the environment or of an option starts at the folder in which the command was typed. A launch form is read by a server,
which no one's folder belongs to: there only an absolute path has a meaning.
"""

from collections.abc import MutableMapping
from pathlib import Path

from taskclf_dagster.errors import PathError

HOME_VARIABLE, CONFIG_VARIABLE, INSTANCE_VARIABLE = "TASKCLF_HOME", "TASKCLF_DAGSTER_CONFIG", "DAGSTER_HOME"


HOMES_VARIABLE = "TASKCLF_DAGSTER_HOMES"
"""The homes file of a deployment that serves many homes."""


PATH_VARIABLES = (HOME_VARIABLE, CONFIG_VARIABLE, INSTANCE_VARIABLE, HOMES_VARIABLE)
"""The variables of the environment that hold a path."""


def make_absolute(text: str, source: str) -> Path:
    """Returns a path as an absolute one; `~` is the user's folder, and a relative path starts at the working directory.

    Args:
        text: the path as it was given.
        source: name of the variable, option or field that it was given in.

    Raises:
        PathError: it starts with the folder of an unknown user, or is relative and the working directory does not exist.
    """
    path = _expand(text, source)
    try:
        return path.absolute()
    except FileNotFoundError as error:
        reason = "it is relative, and the folder that it starts at was deleted"
        raise PathError(source, text, "no_working_directory", reason, "Go to a folder that exists, or give an absolute path") from error


def require_absolute(text: str, source: str) -> Path:
    """Returns the path of a launch form; `~` is the folder of the user that the server runs as.

    Raises:
        PathError: it is relative, or starts with the folder of an unknown user.
    """
    path = _expand(text, source)
    if not path.is_absolute():
        reason = "it is relative, and a launch form is read by a server, which does not know your folder"
        raise PathError(source, text, "relative", reason, "Give its absolute path")
    return path


def make_environment_absolute(environ: MutableMapping[str, str]) -> None:
    """Makes the paths of the environment absolute, for this process and for those that it starts.

    Raises:
        PathError: as `make_absolute`.
    """
    for name in PATH_VARIABLES:
        if environ.get(name):
            environ[name] = str(make_absolute(environ[name], name))


def _expand(text: str, source: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise PathError(source, text, "unknown_user", "the folder of its user is not known", "Write it without ~") from error
