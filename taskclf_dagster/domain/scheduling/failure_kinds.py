"""Classifies the failure of a run by the errors it reported: transient failures are retried, permanent ones are not.

Works on class names and messages, because Dagster keeps nothing else of an error. `retry_policy` decides when a retry is launched.
"""

import errno
import re
from collections.abc import Sequence
from typing import Literal

from taskclf_dagster import errors

Kind = Literal["timeout", "killed", "interrupted", "memory", "io", "error"]


TRANSIENT: frozenset[Kind] = frozenset({"killed", "interrupted", "memory", "io"})
"""The kinds of transient failures."""


TIMEOUT = "timeout"


_MEMORY = frozenset({"MemoryError", "ArrowMemoryError", "_ArrayMemoryError"})


_BAD_ALLOC = re.compile(r"std::bad_alloc|cannot allocate memory", re.IGNORECASE)


_INTERRUPTED = frozenset({"DagsterExecutionInterruptedError", "KeyboardInterrupt"})


KILLED = re.compile(
    r"taking longer than \d+ seconds to start|terminated by signal|unexpectedly exited|process has ended|Detected run worker status"
)
"""Messages of Dagster, and of ours, for a run whose process, or the pod of Kubernetes that it ran in, has ended."""


_OUT_OF_MEMORY = re.compile(r"OOMKilled|low on resource: memory")
"""Parts of messages about a pod that its memory limit ended, or its node for want of memory."""


_ERRNO = re.compile(r"\[Errno (\d+)\]")


_IO = frozenset(
    {"BlockingIOError", "BrokenPipeError", "ConnectionAbortedError", "ConnectionError", "ConnectionRefusedError", "ConnectionResetError"}
    | {"InterruptedError", "TimeoutError", "OperationalError", "RegistryBusyError", "RetrainBusyError", "ClusterLostError"}
    | {"TrainingProcessError"}
    # A run that could not be launched: the code server, or the API of Kubernetes, did not answer.
    | {"DagsterUserCodeUnreachableError", "DagsterK8sAPIRetryLimitExceeded", "MaxRetryError", "ServiceException"}
    | {"ObjectStoreUnavailableError"}
)


_TRANSIENT_ERRNOS = frozenset(
    {errno.EIO, errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ESTALE}
    | {errno.ETIMEDOUT, errno.ECONNRESET, errno.ENOMEM}
)


_OWN = frozenset(name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, errors.TaskclfDagsterError))


def classify_failure(chain: Sequence[tuple[str, str]], *, message: str = "", ended_as: str | None = None) -> Kind:
    """Returns the kind of a failure.

    Args:
        chain: class name and message of the error and of what caused it, the outermost first.
        message: the message that was reported for the run itself when its process ended.
        ended_as: the recorded reason for which the run was ended from outside; None if there is none.

    An error of this package (bad data, a refused decision, ...) is permanent, unless a transient I/O error caused it.
    """
    if ended_as == TIMEOUT or "Exceeded maximum runtime" in message:
        return "timeout"
    if any(name in _MEMORY or _BAD_ALLOC.search(text) for name, text in chain):
        return "memory"
    if any(_is_transient_io(name, text) for name, text in chain):
        return "io"
    if any(name in _INTERRUPTED for name, _ in chain) or "interrupted unexpectedly" in message:
        return "interrupted"
    if not chain and KILLED.search(message):
        return "memory" if _OUT_OF_MEMORY.search(message) else "killed"
    return "error"


def _is_transient_io(name: str, text: str) -> bool:
    if name in _IO:
        return True
    number = _ERRNO.search(text)
    return number is not None and name not in _OWN and int(number[1]) in _TRANSIENT_ERRNOS
