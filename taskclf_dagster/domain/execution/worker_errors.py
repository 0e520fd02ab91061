"""Errors that a worker raises: they arrive with their class and sentence, whatever caused them.

Dask pickles an error with its cause, and sends a nameless one instead where that fails: a failure that may pass would be taken for one that
stays.
"""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager

from taskclf_dagster.errors import TaskclfDagsterError


@contextmanager
def sendable_errors() -> Iterator[None]:
    """Replaces the cause of an error of this package by a RuntimeError with its class and text, if it cannot be pickled."""
    try:
        yield
    except TaskclfDagsterError as error:
        error.__cause__ = None if error.__cause__ is None else as_picklable(error.__cause__)
        error.__context__ = None
        raise


def as_picklable(error: BaseException) -> BaseException:
    """Returns an error, or a RuntimeError with its class and text if it cannot be pickled and made again."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - made here
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
