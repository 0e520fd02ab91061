"""The messages of a training process to its parent."""

import pickle
from dataclasses import dataclass

from taskclf_dagster.domain.execution.worker_errors import as_picklable
from taskclf_dagster.shown_text import reason_of


@dataclass(frozen=True)
class Ready:
    """The rows are loaded, and the process will listen on a port."""

    port: int


@dataclass(frozen=True)
class Round:
    """So many rounds are done."""

    done: int


@dataclass(frozen=True)
class Trained:
    """The text of the model."""

    text: str


@dataclass(frozen=True)
class Failed:
    """The process raised an error, which is pickled, as the parent may not know its class."""

    error: bytes
    text: str

    @classmethod
    def of(cls, error: Exception) -> "Failed":
        """Returns the message of an error."""
        return cls(pickle.dumps(as_picklable(error)), f"{type(error).__name__}: {reason_of(error)}")

    def restore(self) -> Exception:
        """Returns the error, or its text as a RuntimeError if it cannot be made again."""
        try:
            error = pickle.loads(self.error)  # noqa: S301 - our own process wrote it
        except Exception:
            return RuntimeError(self.text)
        return error if isinstance(error, Exception) else RuntimeError(self.text)


Message = Ready | Round | Trained | Failed
