"""Errors that another process raised: they arrive with their class, sentence, attributes and cause."""

import pickle
import threading
from pathlib import Path
from typing import TypeVar

import pytest
import tblib.pickling_support

from taskclf_dagster.domain.execution.worker_errors import sendable_errors
from taskclf_dagster.errors import ClusterLostError, SnapshotError

E = TypeVar("E", bound=Exception)


class _CannotBePickledError(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text, threading.Lock())


class _CannotBeMadeAgainError(Exception):
    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"{host}:{port} refused")


def raised_elsewhere(error: E, cause: BaseException) -> E:
    with pytest.raises(type(error)), sendable_errors():
        raise error from cause
    tblib.pickling_support.install(error)  # as dask does before it sends an error
    arrived = pickle.loads(pickle.dumps(error))  # noqa: S301 - made here
    assert type(arrived) is type(error)
    assert (str(arrived), vars(arrived)) == (str(error), vars(error))
    return arrived


def test_an_error_of_a_training_process_arrives_with_its_cause() -> None:
    error = SnapshotError(Path("/srv/home"), "it is torn", "Restore it")
    error.__cause__ = OSError(5, "Input/output error")
    arrived = pickle.loads(pickle.dumps(error))  # noqa: S301 - made here
    assert repr(arrived.__cause__) == repr(error.__cause__)


def test_an_error_arrives_with_its_sentence_and_its_cause() -> None:
    full = OSError(28, "No space left on device", "/srv/home")
    arrived = raised_elsewhere(SnapshotError(Path("/srv/home"), "it is torn", "Restore it"), raised_elsewhere(_lost(), full))
    assert str(arrived.__cause__) == str(_lost())
    assert arrived.__cause__ is not None
    assert repr(arrived.__cause__.__cause__) == repr(full)


def test_an_error_arrives_although_its_cause_cannot_be_pickled_or_made_again() -> None:
    for cause in (_CannotBePickledError("not this"), _CannotBeMadeAgainError("storage", 443)):
        arrived = raised_elsewhere(_lost(), cause)
        assert isinstance(arrived.__cause__, RuntimeError)
        assert f"{type(cause).__name__}: {cause}" == str(arrived.__cause__)


def _lost() -> ClusterLostError:
    return ClusterLostError("tcp://scheduler:8786", "workers", "it has no worker")
