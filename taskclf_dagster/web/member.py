"""One process of the server: runs a program in this process, and ends it with everything that it started when the parent has ended.

The parent holds the other end of this process's standard input, and writes nothing: reading returns when the parent has ended, however it
ended. This process leads a session of its own, so its process group is what it started: the code server's runs belong to it.
"""

import os
import shutil
import signal
import sys
import threading
import time
from importlib.metadata import entry_points
from pathlib import Path

WEB_SERVER = "taskclf-dagster-web"
"""The program that is this package's own; any other is a console script of Dagster."""

GRACE_SECONDS = 15.0
"""The time that a program without parent has to end by itself. A run records its interruption in less."""


def main() -> None:
    """Runs `PROGRAM ARGUMENT...` after the folder that is removed if the parent dies."""
    folder, program = Path(sys.argv[1]), sys.argv[2]
    sys.argv = sys.argv[2:]
    # A shell starts background jobs deaf to SIGINT, and Dagster copies that to SIGTERM: nothing would end them then.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()
    _run(program)


def _run(program: str) -> None:
    if program == WEB_SERVER:
        from taskclf_dagster.web.__main__ import main as run

        run()
        return
    (script,) = entry_points(group="console_scripts", name=program)
    sys.exit(script.load()())


def _end_with_parent(folder: Path) -> None:
    """Waits until the parent has ended, then asks this process group to end, and kills what has not ended after GRACE_SECONDS."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    os.killpg(os.getpgid(0), signal.SIGINT)
    time.sleep(GRACE_SECONDS)
    os.killpg(os.getpgid(0), signal.SIGKILL)


if __name__ == "__main__":
    main()
