"""Finds the folder of a bundle, and resolves the path that a pointer names. Nothing here writes."""

from pathlib import Path

from taskclf_dagster.domain.storage.files import list_folders
from taskclf_dagster.domain.storage.path_names import find_name_problem, find_path_problem
from taskclf_dagster.errors import BundleError
from taskclf_dagster.home import Home

MAX_SHOWN = 80
"""Characters of a model_dir in a message."""


MAX_NAMED = 10
"""Bundles that a message names."""


def resolve_model_dir(home: Home, model_dir: str) -> Path:
    """Returns the folder that a pointer names.

    Raises:
        BundleError: it is no path, is absolute or leaves the home, also through a link.
    """
    problem = find_path_problem(model_dir)
    try:
        path = home.root.resolve() if problem is not None else (home.root / model_dir).resolve()
    except (OSError, RuntimeError) as error:  # a loop of links
        problem, path = str(error), home.root
    if problem is not None or not path.is_relative_to(home.root.resolve()):
        shown = repr(model_dir[:MAX_SHOWN]) + ("..." if len(model_dir) > MAX_SHOWN else "")
        reason = problem or "it leaves the home through a link"
        raise BundleError(home.root, "location", f"invalid: model_dir must stay within the home; of {shown}: {reason}")
    return path


def is_model_id(name: str) -> bool:
    """Returns True if a name can be that of a bundle's folder: no path, not hidden, not too long for a file system."""
    return find_name_problem(name) is None and not name.startswith(".")


def list_bundle_folders(folder: Path) -> list[Path]:
    """Returns the folders of bundles in a folder, in order of name: no hidden ones, and none with the name of a file of the registry."""
    return [path for path in list_folders(folder) if not _is_file_name(path)]


def _is_file_name(path: Path) -> bool:
    """Returns True for what should be a file, or was one that a repair renamed: active.json, active_history.damaged2."""
    return path.suffix in (".json", ".jsonl") or path.suffix.startswith(".damaged")


def find_bundle(home: Home, model_id: str) -> Path | None:
    """Returns the folder of a bundle among promoted, pending, rejected and undecided ones, or None."""
    if not is_model_id(model_id):
        return None
    return next((folder / model_id for folder in _folders(home) if (folder / model_id).is_dir()), None)


def _folders(home: Home) -> tuple[Path, ...]:
    return home.models, home.challengers, home.pending_models, home.rejected_models


def require_bundle(home: Home, model_id: str) -> Path:
    """Returns the folder of a bundle, as `find_bundle` does.

    Raises:
        BundleError: the bundle does not exist.
    """
    folder = find_bundle(home, model_id)
    if folder is None:
        raise BundleError(home.challengers / model_id, "not_found", "there is no such bundle in models/ or in artifacts/")
    return folder


def require_named_bundle(home: Home, model_id: str) -> Path:
    """Returns the folder of a bundle that a person named, as `find_bundle` does.

    Raises:
        BundleError: the bundle does not exist; the message names those that do.
    """
    folder = find_bundle(home, model_id)
    if folder is None:
        raise BundleError(Path(model_id), "not_found", f"no bundle in models/ or artifacts/ has this id; {_describe_bundles(home)}")
    return folder


def _describe_bundles(home: Home) -> str:
    """Returns the ids of the newest bundles of a home."""
    names = sorted({path.name for folder in _folders(home) for path in list_bundle_folders(folder)}, reverse=True)
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return f"there are {', '.join(names[:MAX_NAMED])}{more}" if names else "there is none at all"
