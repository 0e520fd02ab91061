"""Errors about object stores."""

from taskclf_dagster.errors.base import TaskclfDagsterError


class ObjectStoreError(TaskclfDagsterError):
    """A place in an object store cannot be used, and will not be without a change: no permission, no bucket, no package.

    Attributes:
        url: the place.
        reason: what is wrong.
        fix: what to do, a sentence without its full stop.
    """

    def __init__(self, url: str, reason: str, fix: str) -> None:
        self.url, self.reason, self.fix = url, reason.rstrip("."), fix
        super().__init__(f"{url} cannot be used: {self.reason}. {fix}.")


class ObjectMissingError(ObjectStoreError):
    """There is no such object, or no such bucket."""


class ObjectStoreUnavailableError(TaskclfDagsterError):
    """An object store did not answer, or not in time, after all attempts; a later attempt may succeed.

    Attributes:
        url: the place.
    """

    def __init__(self, url: str, reason: str) -> None:
        self.url, self.reason = url, reason.rstrip(".")
        super().__init__(
            f"{url} cannot be reached: {self.reason}. Try again later; if it stays so, compare the endpoint in the environment with the "
            "address of the object store (docs/object-stores.md)."
        )
