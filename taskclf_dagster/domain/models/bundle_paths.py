"""Finds the folder of a bundle, and resolves the path that a pointer names. Nothing here writes."""

from pathlib import Path

from taskclf_dagster.errors import BundleError
from taskclf_dagster.home import Home


def resolve_model_dir(home: Home, model_dir: str) -> Path:
    """Returns the folder that a pointer names.

    Raises:
        BundleError: the path is absolute or leaves the home, also through a link.
    """
    try:
        path = (home.root / model_dir).resolve()
    except (OSError, ValueError, RuntimeError) as error:  # a null byte, a loop of links
        raise BundleError(home.root, "location", f"invalid: model_dir {model_dir!r} is not a path: {error}") from error
    if Path(model_dir).is_absolute() or ".." in Path(model_dir).parts or not path.is_relative_to(home.root.resolve()):
        raise BundleError(home.root / model_dir, "location", "invalid: model_dir must stay within the home")
    return path


def is_model_id(name: str) -> bool:
    """Returns True if a name can be that of a bundle's folder: no path, not hidden."""
    return bool(name) and Path(name).name == name and not name.startswith(".")


def find_bundle(home: Home, model_id: str) -> Path | None:
    """Returns the folder of a bundle among promoted, pending, rejected and undecided ones, or None."""
    if not is_model_id(model_id):
        return None
    folders = (home.models, home.challengers, home.pending_models, home.rejected_models)
    return next((folder / model_id for folder in folders if (folder / model_id).is_dir()), None)


def require_bundle(home: Home, model_id: str) -> Path:
    """Returns the folder of a bundle, as `find_bundle` does.

    Raises:
        BundleError: the bundle does not exist.
    """
    folder = find_bundle(home, model_id)
    if folder is None:
        raise BundleError(home.challengers / model_id, "not_found", "there is no such bundle in models/ or in artifacts/")
    return folder
