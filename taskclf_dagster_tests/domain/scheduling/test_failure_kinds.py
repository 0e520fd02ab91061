"""Kinds of failures: which are worth another run, told from the names and messages that Dagster keeps of an error."""

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from taskclf_dagster.domain.scheduling.failure_kinds import TRANSIENT, Kind, classify_failure
from taskclf_dagster.errors import (
    BundleError,
    ClusterLostError,
    ClusterNotUsableError,
    DecisionFinding,
    DecisionNotVerifiedError,
    HomeNotFoundError,
    InvalidSetting,
    RegistryBusyError,
    RetrainBusyError,
    SettingsError,
    UnreadableFileError,
    UnsafeFileSystemError,
)
from taskclf_dagster_tests.scenario import MONDAY

PATH = Path("/home/ann/labels.parquet")
NO_SPACE = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/home/ann/x")


def chain(*found: BaseException | tuple[str, str]) -> list[tuple[str, str]]:
    """Class names and messages, the outermost first, as Dagster keeps them."""
    return [error if isinstance(error, tuple) else (type(error).__name__, str(error)) for error in found]


def unreadable(reason: str) -> UnreadableFileError:
    return UnreadableFileError(PATH, reason, "Restore it")


def test_the_kinds_that_pass_are_these() -> None:
    assert sorted(TRANSIENT) == ["interrupted", "io", "killed", "memory"]


PASSING_IO = {
    "a device that fails": OSError(errno.EIO, "Input/output error"),
    "a full disk": NO_SPACE,
    "a quota": OSError(errno.EDQUOT, "Disk quota exceeded"),
    "too many files": OSError(errno.EMFILE, "Too many open files", "/x"),
    "a network drive that went": OSError(errno.ESTALE, "Stale file handle"),
    "a resource that is busy": OSError(errno.EBUSY, "Device or resource busy"),
    "a refused connection": ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
    "a connection that broke": BrokenPipeError("the other side went away"),
    "a time-out of the network": TimeoutError("timed out"),
    "a database that is locked": sqlite3.OperationalError("database is locked"),
    "a registry that is busy": RegistryBusyError(PATH, 60),
    "a cluster that was lost": ClusterLostError("tcp://scheduler:8786", "workers", "worker b went away"),
    "another retrain that does not end": RetrainBusyError("another retrain is under way", 3600),
    "a code server that is away": ("DagsterUserCodeUnreachableError", "Could not reach user code server. gRPC Error code: UNAVAILABLE"),
    "a cluster that does not answer": ("DagsterK8sAPIRetryLimitExceeded", "Unexpected error encountered in Kubernetes API Client."),
}


@pytest.mark.parametrize("case", PASSING_IO)
def test_a_passing_failure_of_the_machine_is_io(case: str) -> None:
    assert classify_failure(chain(PASSING_IO[case])) == "io"


@pytest.mark.parametrize("case", PASSING_IO)
def test_an_error_of_ours_that_a_passing_failure_caused_is_io(case: str) -> None:
    assert classify_failure(chain(unreadable("it cannot be opened"), PASSING_IO[case])) == "io"


MEMORY = {
    "python's own": MemoryError("out of memory"),
    "numpy's": ("_ArrayMemoryError", "Unable to allocate 8.00 GiB for an array"),
    "arrow's": ("ArrowMemoryError", "malloc of size 17179869184 failed"),
    "lightgbm's": ("LightGBMError", "std::bad_alloc"),
    "fork's": OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
}


@pytest.mark.parametrize("case", MEMORY)
def test_a_machine_without_memory_is_a_kind_of_its_own(case: str) -> None:
    assert classify_failure(chain(MEMORY[case])) == "memory"
    assert classify_failure(chain(BundleError(PATH, "model_text", "it cannot be loaded"), MEMORY[case])) == "memory"


LASTING = {
    "bad data": unreadable("Parquet magic bytes not found in footer"),
    "bad data, as arrow found": ("ArrowInvalid", "Parquet magic bytes not found in footer"),
    "a file that is missing": FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "/x"),
    "a file that may not be read": PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/x"),
    "a folder in place of a file": IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), "/x"),
    "no home": HomeNotFoundError(PATH),
    "a worker of another version": ClusterNotUsableError("tcp://scheduler:8786", "versions", "worker b has numpy 1", "Install it"),
    "wrong settings": SettingsError(PATH, [InvalidSetting("min_labels", "greater_than_equal", "must be at least 1")]),
    "a decision that does not hold": DecisionNotVerifiedError("d", [DecisionFinding("pointer_changed", "the pointer moved")]),
    "a file system that is not safe": UnsafeFileSystemError(PATH, "it has no file locks"),
    "a mistake of ours": ZeroDivisionError("division by zero"),
    "lightgbm refusing": ("LightGBMError", "Check failed: (num_data) > (0)"),
    "a blocking check": ("DagsterAssetCheckFailedError", "1 blocking asset check failed with ERROR severity"),
    "nothing at all": ("", ""),
}


@pytest.mark.parametrize("case", LASTING)
def test_what_would_happen_again_is_an_error(case: str) -> None:
    assert classify_failure(chain(LASTING[case])) == "error"


def test_a_missing_file_stays_an_error_when_we_say_so_in_our_words() -> None:
    assert classify_failure(chain(unreadable("gone"), FileNotFoundError(errno.ENOENT, "No such file or directory", "/x"))) == "error"


def test_our_own_words_that_quote_an_error_number_are_no_failure_of_the_machine() -> None:
    assert classify_failure(chain(unreadable("[Errno 5] Input/output error"))) == "error"
    assert classify_failure(chain(("OSError", "[Errno 5] Input/output error"))) == "io"


def test_no_message_that_ends_in_a_number_is_taken_for_an_error_number() -> None:
    assert classify_failure(chain(("ValueError", f"day {MONDAY.day} of {errno.EIO}"))) == "error"


@pytest.mark.parametrize("name", ["DagsterExecutionInterruptedError", "KeyboardInterrupt"])
def test_an_interrupt_is_told_apart(name: str) -> None:
    assert classify_failure([(name, "")]) == "interrupted"
    assert classify_failure([], message="Execution was interrupted unexpectedly. No user initiated termination request was found.") == (
        "interrupted"
    )


@pytest.mark.parametrize(
    "message",
    [
        "Run process was terminated by signal 9 (SIGKILL).",
        "Multiprocess executor: child process for step x unexpectedly exited with code 1",
        "its process has ended: it was killed, or the machine went down",
        "Detected run worker status UNKNOWN: 'Job dagster-run-0123 could not be found'. Marking run 0123 as failed.",
    ],
)
def test_a_process_that_was_killed_is_told_apart_if_it_left_no_error(message: str) -> None:
    assert classify_failure([], message=message) == "killed"
    assert classify_failure(chain(LASTING["bad data"]), message=message) == "error"


POD = "Detected run worker status FAILED: 'Run has not completed but K8s job has no active pods'. Marking run 0123 as failed."


@pytest.mark.parametrize(
    "status",
    [
        "Container 'dagster' status: Terminated with exit code 137: OOMKilled",
        "Pod status: Failed: The node was low on resource: memory. Threshold quantity: 100Mi, available: 12Mi.",
    ],
)
def test_a_pod_without_memory_is_told_from_one_that_was_lost(status: str) -> None:
    assert classify_failure([], message=POD) == "killed"
    assert classify_failure([], message=f"{POD}\n{status}") == "memory"
    assert classify_failure(chain(LASTING["bad data"]), message=f"{POD}\n{status}") == "error"


TIMEOUTS: list[tuple[list[tuple[str, str]], str, str | None]] = [
    ([], "its process has ended", "timeout"),
    ([("DagsterExecutionInterruptedError", "")], "", "timeout"),
    ([("OSError", "[Errno 5] Input/output error")], "", "timeout"),
    ([], "Exceeded maximum runtime of 5700 seconds.", None),
    ([("DagsterExecutionInterruptedError", "")], "Exceeded maximum runtime of 5700 seconds.", None),
]


@pytest.mark.parametrize(("found", "message", "tag"), TIMEOUTS)
def test_a_timeout_is_one_whatever_else_was_reported_and_never_passes(found: list[tuple[str, str]], message: str, tag: str | None) -> None:
    assert classify_failure(found, message=message, ended_as=tag) == "timeout"
    assert "timeout" not in TRANSIENT


def test_no_word_at_all_is_an_error() -> None:
    kind: Kind = "error"
    assert classify_failure([]) == kind
