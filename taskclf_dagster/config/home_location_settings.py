"""The settings of where a home keeps its windows and snapshots; set in the settings file of the home only.

Everything else of a home stays on a local POSIX file system (`docs/adr/0013-registry-stays-local.md`).
"""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

from taskclf_dagster.config.setting_types import Settings

SCHEMES = ("s3", "gs", "gcs", "az", "abfs", "abfss", "file")
"""Beginnings of a URL that fsspec opens here: S3, Google Cloud Storage, Azure, a folder of this machine."""


MAX_LENGTH = 500
"""Characters of a URL."""


WHY_LOCAL = (
    "models, history, receipts and locks stay in the home on a local POSIX file system, because what the registry promises needs locks, "
    "fsync and rename (docs/adr/0013-registry-stays-local.md); only home.features_url and home.snapshots_url name another place"
)


_LOCAL_ONLY = re.compile(r"(.+\.)?(home|root|data|labels?|models?|bundles?|registry|history|decisions?|receipts?|artifacts?)[._]?(url|uri)")


_CREDENTIALS = (
    "credentials never stand in a URL or in the settings; they come from the environment, as docs/object-stores.md says, and an account of "
    "Azure from AZURE_STORAGE_ACCOUNT_NAME"
)


def check_location(url: str) -> str:
    """Returns the URL of a place in an object store, without a slash at its end.

    Raises:
        ValueError: it has no known scheme, no bucket, or may hold credentials; the message does not repeat the URL.
    """
    if "@" in url:
        msg = f"it has an @: {_CREDENTIALS}"
        raise ValueError(msg)
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in SCHEMES or not url.startswith(f"{parts.scheme}://"):
        msg = f"it must begin with one of {', '.join(f'{scheme}://' for scheme in SCHEMES)}"
        raise ValueError(msg)
    if parts.query or parts.fragment or "?" in url or "#" in url:
        msg = f"it has a query or a fragment: {_CREDENTIALS}"
        raise ValueError(msg)
    if (parts.scheme == "file") == bool(parts.netloc) or not parts.netloc.strip("/") + parts.path.strip("/"):
        msg = "it names no bucket" if parts.scheme != "file" else "it must be the absolute path of a folder, such as file:///srv/windows"
        raise ValueError(msg)
    inner = parts.path.strip("/")
    if len(url) > MAX_LENGTH or not url.isprintable() or (inner and any(part in ("", ".", "..") for part in inner.split("/"))):
        msg = f"its path must be plain, without empty parts, . or .., and have at most {MAX_LENGTH} characters"
        raise ValueError(msg)
    return url.rstrip("/")


def explain_local_only(key: str) -> str | None:
    """Returns why a key that is none would point something elsewhere that must stay local; None for any other key."""
    return WHY_LOCAL if _LOCAL_ONLY.fullmatch(key) else None


Location = Annotated[str, AfterValidator(check_location)]


class HomeLocationSettings(Settings):
    """The places of windows and snapshots; None is the home itself. Each key is explained in `configs/retrain.yaml`."""

    features_url: Location | None
    snapshots_url: Location | None
