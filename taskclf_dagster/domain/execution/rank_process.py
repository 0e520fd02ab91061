"""Starts and ends the process of one rank, which `training_process` runs.

LightGBM cannot be interrupted while it waits for another process, and waits for hours for one that has ended. A process can be killed.
"""

import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import TracebackType

from taskclf_dagster.domain.execution import training_process
from taskclf_dagster.domain.execution.rank_job import RankJob
from taskclf_dagster.domain.execution.rank_messages import Failed, Message, Ready, Round, Trained
from taskclf_dagster.errors import TrainingProcessError

LOOK_SECONDS = 0.5
"""Time between two calls of the function that may stop a process."""


class RankProcess:
    """A running process; it is killed when the block ends.

    Attributes:
        pid: its process id.
    """

    def __init__(self, job: RankJob, look: Callable[[int], object]) -> None:
        """Starts the process.

        Args:
            job: what it does.
            look: called with the process id about every LOOK_SECONDS while this one waits; it raises an error to stop waiting.
        """
        command = [sys.executable, "-m", training_process.__name__]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)  # noqa: S603
        self.pid = self._process.pid
        self._look, self._looked = look, time.monotonic()
        self._messages: SimpleQueue[Message | None] = SimpleQueue()
        self._job = job
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> "RankProcess":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Kills the process if it has not ended, and waits until it has."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def load(self) -> int:
        """Hands over the job; returns the port on which the process will listen, once its rows are loaded.

        Raises:
            TrainingProcessError: the process ended.
        """
        self._write(self._job)
        message = self._next()
        if not isinstance(message, Ready):
            raise _unexpected(message)
        return message.port

    def train(self, machines: Sequence[str], on_round: Callable[[int], object]) -> str:
        """Trains with the processes of all ranks, and returns the text of the model.

        Args:
            machines: `host:port` of each rank.
            on_round: called with the number of rounds that are done, from time to time.

        Raises:
            TrainingProcessError: the process ended.
        """
        self._write(tuple(machines))
        while isinstance(message := self._next(), Round):
            on_round(message.done)
        if not isinstance(message, Trained):
            raise _unexpected(message)
        return message.text

    def wait(self, found: Callable[[], bool], *, seconds: float = 0.05) -> None:
        """Waits until a function returns True, and looks meanwhile."""
        while not found():
            self._look_now_and_then()
            time.sleep(seconds)

    def _write(self, content: object) -> None:
        pipe = self._process.stdin
        if pipe is None:
            raise TrainingProcessError("it has no standard input")
        with suppress(OSError):  # it has ended, which the next message says
            pickle.dump(content, pipe)
            pipe.flush()

    def _read(self) -> None:
        """Collects what the process writes; the end is None."""
        pipe = self._process.stdout
        with suppress(EOFError, OSError, ValueError, pickle.UnpicklingError):
            while pipe is not None:
                self._messages.put(pickle.load(pipe))  # noqa: S301 - our own process
        self._messages.put(None)

    def _next(self) -> Message:
        while True:
            self._look_now_and_then()
            with suppress(Empty):
                message = self._messages.get(timeout=LOOK_SECONDS)
                if message is None:
                    raise TrainingProcessError(self._describe_end())
                if isinstance(message, Failed):
                    raise message.restore()
                return message

    def _look_now_and_then(self) -> None:
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()
            self._look(self.pid)

    def _describe_end(self) -> str:
        code = self._process.wait()
        if code >= 0:
            return f"it ended with exit code {code}"
        name = signal.Signals(-code).name if -code in {int(each) for each in signal.Signals} else str(-code)
        reason = ", as the system does when memory runs out" if -code == signal.SIGKILL else ""
        return f"it was ended by signal {name}{reason}"


def _unexpected(message: Message) -> TrainingProcessError:
    return TrainingProcessError(f"it wrote {type(message).__name__} too early or too late")
