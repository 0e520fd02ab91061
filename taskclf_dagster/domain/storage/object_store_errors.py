"""Separates transient errors of an object store from the others, and makes a sentence of each, with the change that it needs.

s3fs, gcsfs and adlfs raise errors of several libraries, none of which need be installed: they are known by their names.
"""

import errno
import re
from collections.abc import Mapping

from upath import UPath

from taskclf_dagster.errors import ObjectMissingError, ObjectStoreError, ObjectStoreUnavailableError, TaskclfDagsterError
from taskclf_dagster.shown_text import reason_of

_TRANSIENT_CLASSES = frozenset(
    {
        *("botocore.exceptions.ConnectionError", "botocore.exceptions.HTTPClientError", "botocore.exceptions.ResponseStreamingError"),
        *("botocore.exceptions.IncompleteReadError", "aiohttp.client_exceptions.ClientError"),
        *("azure.core.exceptions.ServiceRequestError", "azure.core.exceptions.ServiceResponseError"),
    }
)


_TRANSIENT_ERRNOS = frozenset(
    {errno.EIO, errno.EBUSY, errno.EAGAIN, errno.EINTR, errno.ETIMEDOUT, errno.ECONNRESET, errno.ECONNREFUSED, errno.EPIPE}
    | {getattr(errno, "EREMOTEIO", errno.EIO)}
)


_TRANSIENT_STATUS = frozenset({408, 425, 429})


_NO_CREDENTIALS = frozenset({"NoCredentialsError", "PartialCredentialsError", "ClientAuthenticationError", "DefaultCredentialsError"})


_EXTRAS: Mapping[str, str] = {"s3": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure"}


_NO_BUCKET = re.compile(r"(bucket|container) does not exist", re.IGNORECASE)


_GRANT = "Give the credentials in the environment leave to list, read, write and delete below it (docs/object-stores.md)"


class ChangedWhileReadError(TaskclfDagsterError):
    """An object was replaced while it was read; the next attempt reads the new one."""


def is_transient(error: BaseException) -> bool:
    """Returns True if another attempt may succeed: no answer, a cut connection, too many requests, an error of the server."""
    if isinstance(error, ChangedWhileReadError | TimeoutError | ConnectionError):
        return True
    status = _status(error)
    if status is not None:
        return status >= 500 or status in _TRANSIENT_STATUS
    if any(f"{kind.__module__}.{kind.__qualname__}" in _TRANSIENT_CLASSES for kind in type(error).__mro__):
        return True
    return isinstance(error, OSError) and error.errno in _TRANSIENT_ERRNOS


def describe_failure(path: UPath, error: Exception) -> TaskclfDagsterError:
    """Returns the error to raise after the last attempt."""
    url = str(path)
    if isinstance(error, TimeoutError):
        return ObjectStoreUnavailableError(url, "no answer in time")
    if is_transient(error):
        return ObjectStoreUnavailableError(url, reason_of(error))
    if isinstance(error, ImportError):
        extra = _EXTRAS.get(path.protocol, path.protocol)
        return ObjectStoreError(url, f"the package for {path.protocol}:// is not installed", f"pip install 'taskclf-dagster[{extra}]'")
    if isinstance(error, FileNotFoundError):
        if _NO_BUCKET.search(str(error)):
            return ObjectMissingError(url, "the bucket does not exist", "Create it, or correct the URL in the settings file of the home")
        return ObjectMissingError(url, "it does not exist", "Write it again")
    if type(error).__name__ in _NO_CREDENTIALS:
        return ObjectStoreError(url, "there are no credentials", "Set them in the environment (docs/object-stores.md)")
    if isinstance(error, PermissionError) or _status(error) in (401, 403):
        return ObjectStoreError(url, f"access is denied ({reason_of(error)})", _GRANT)
    return ObjectStoreError(url, f"{type(error).__name__}: {reason_of(error)}", "Compare URL and environment with docs/object-stores.md")


def _status(error: BaseException) -> int | None:
    """Returns the status of HTTP that an error of azure, gcsfs or aiohttp carries."""
    found = (getattr(error, name, None) for name in ("status_code", "status", "code"))
    return next((value for value in found if isinstance(value, int) and 400 <= value < 600), None)
