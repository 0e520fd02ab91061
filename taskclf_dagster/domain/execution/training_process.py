"""The process of one rank, `python -m taskclf_dagster.domain.execution.training_process`: `rank_process` starts and ends it.

It reads a pickled `RankJob` from standard input, loads its rows, says on which port it will listen, reads the machines of all ranks,
trains, and writes the model. It ends when its standard input is closed, which happens when its parent ends, in whatever way: LightGBM
waits in C++ for another process that may have ended, and does not notice.
"""

import os
import pickle
import signal
import sys
import threading
import time
from queue import SimpleQueue
from typing import BinaryIO

from taskclf_dagster.domain.execution.rank_job import RankJob, choose_port, load_rank, train_rank
from taskclf_dagster.domain.execution.rank_messages import Failed, Message, Ready, Round, Trained

ROUND_SECONDS = 0.2
"""A round is reported if the last report is older."""


def main() -> None:
    """Runs the job of standard input; messages go to standard output, and what LightGBM prints to standard error."""
    messages = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        _run(sys.stdin.buffer, messages)
    except Exception as error:
        _send(messages, Failed.of(error))
    os._exit(0)  # the thread that reads standard input cannot be ended


def _run(commands: BinaryIO, messages: BinaryIO) -> None:
    job: RankJob = pickle.load(commands)  # noqa: S301 - the parent wrote it
    machines: SimpleQueue[tuple[str, ...]] = SimpleQueue()
    threading.Thread(target=_follow_parent, args=(commands, machines), daemon=True).start()
    data = load_rank(job)
    _send(messages, Ready(choose_port()))
    last = time.monotonic()

    def after_round(done: int) -> None:
        nonlocal last
        if time.monotonic() - last >= ROUND_SECONDS:
            last = time.monotonic()
            _send(messages, Round(done))

    _send(messages, Trained(train_rank(job, data, machines.get(), after_round)))


def _follow_parent(commands: BinaryIO, machines: "SimpleQueue[tuple[str, ...]]") -> None:
    """Hands on the machines that the parent writes, and ends this process when the parent has ended."""
    try:
        machines.put(pickle.load(commands))  # noqa: S301
        commands.read()
    finally:
        os.kill(os.getpid(), signal.SIGKILL)


def _send(messages: BinaryIO, message: Message) -> None:
    pickle.dump(message, messages)
    messages.flush()


if __name__ == "__main__":
    main()
