"""Counts how often one retrain of a demo home opens each of its files: the second retrain, with a champion and a week of new days.

Python's own opens are seen by an audit hook, those of pyarrow by wrapping what opens files. Folders are not counted, nor are the calls
that make a write durable. `strace -f -e trace=openat` sees the same files.
"""

import argparse
import contextlib
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

FIRST_DAY, WEEK = datetime(2026, 7, 1, tzinfo=UTC), timedelta(days=7)
MAX_OPENS = 150
_TEMPORARY = re.compile(r"^\.(.+)\.\d+-[0-9a-f]{32}\.tmp$")


class OpenCounter:
    """Opens of the files below a folder while it counts.

    Attributes:
        files: opens by path relative to the folder; a temporary file counts as the file that it becomes.
        callers: opens by path and by the functions of this project that led to them, the innermost first.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder.resolve()) + os.sep
        self.files: Counter[str] = Counter()
        self.callers: Counter[tuple[str, str]] = Counter()
        self._counts = False
        sys.addaudithook(self._on_event)

    @property
    def total(self) -> int:
        return sum(self.files.values())

    @contextlib.contextmanager
    def counting(self) -> Iterator[None]:
        """Counts within the block."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        openers = [(pq.ParquetFile, "__init__", 1), (pq.ParquetWriter, "__init__", 1)]
        openers += [
            (module, name, 0)
            for module, names in ((pa, ("memory_map", "OSFile")), (pq, ("read_schema", "read_metadata")))
            for name in names
        ]
        with contextlib.ExitStack() as undo:
            for owner, name, position in openers:
                function = getattr(owner, name)
                undo.callback(setattr, owner, name, function)
                setattr(owner, name, self._counted(function, position))
            self._counts = True
            try:
                yield
            finally:
                self._counts = False

    def _counted(self, function: Callable[..., Any], position: int) -> Callable[..., Any]:
        """The function, which opens the file that it is given at this position."""

        def wrapper(*arguments: Any, **named: Any) -> Any:
            if isinstance(arguments[position], str | os.PathLike):
                self._count(os.fspath(arguments[position]))
            return function(*arguments, **named)

        return wrapper

    def _on_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._counts or event != "open" or not isinstance(arguments[0], str | os.PathLike):
            return
        path, _, flags = arguments
        if flags & os.O_EXCL and Path(path).exists():
            return  # nothing is opened: a lock file is tried as a new one first
        self._count(os.fspath(path))

    def _count(self, path: str) -> None:
        if not path.startswith(self.folder):
            return
        frames = list(_project_frames(sys._getframe(2)))  # noqa: SLF001  # the only way to see who calls
        if frames[:1] in (["filesystem._sync"], ["folder_lock.lock_folder"]):  # a folder is opened to make names durable, and to lock it
            return
        name = _with_final_name(path.removeprefix(self.folder))
        self.files[name] += 1
        self.callers[name, " < ".join(frames[:4])] += 1


def _project_frames(frame: Any) -> Iterator[str]:
    while frame is not None:
        file = frame.f_code.co_filename
        if f"{os.sep}taskclf_dagster{os.sep}" in file:
            yield f"{Path(file).stem}.{frame.f_code.co_name}"
        frame = frame.f_back


def _with_final_name(name: str) -> str:
    return Path(*(_TEMPORARY.sub(r"\1", part) for part in Path(name).parts)).as_posix()


def count_opens_of_retrain(folder: Path) -> OpenCounter:
    """Makes a demo home, retrains, adds a week, and counts in the second retrain.

    Raises:
        RuntimeError: one of the retrains promotes nothing, so that there is nothing to count.
    """
    import dagster as dg  # noqa: TID251  # the opens of the real job are counted
    import lightgbm  # noqa: F401

    from taskclf_dagster.definitions import build_definitions
    from taskclf_dagster.defs.jobs.retrain import RetrainParams, run_retrain_pipeline
    from taskclf_dagster.defs.resources.inputs import HomeResource
    from taskclf_dagster.demo import generator

    home, config = folder / "home", Path(__file__).resolve().parents[1] / "configs" / "demo.yaml"
    generator.generate_demo_home(home, end=date(2026, 6, 30))
    definitions = build_definitions(home=HomeResource(root=str(home)))
    counter = OpenCounter(home)
    with dg.DagsterInstance.ephemeral() as instance:
        for as_of, scope in ((FIRST_DAY, contextlib.nullcontext), (FIRST_DAY + WEEK, counter.counting)):
            with scope():
                params = RetrainParams(as_of=as_of.isoformat(), config_path=str(config))
                result = run_retrain_pipeline(definitions, params, instance=instance)
            if not result.pointer_moved:
                raise RuntimeError(f"the retrain as of {as_of:%Y-%m-%d} moved nothing: {result.outcome}, {result.reason}")
            generator.extend_demo_home(home, days=7)
    return counter


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", action="store_true", help="list every file with its opens")
    parser.add_argument("--callers", metavar="TEXT", help="list who opens the files with this in their path ('' for all)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counter = count_opens_of_retrain(Path(folder).resolve())
    if chosen.files:
        for name, number in counter.files.most_common():
            print(f"{number:5} {name}")
    if chosen.callers is not None:
        for (name, caller), number in sorted(counter.callers.items()):
            if chosen.callers in name:
                print(f"{number:5} {name}: {caller}")
    judged = "met" if counter.total <= MAX_OPENS else "MISSED"
    print(f"opens of a traced retrain: {counter.total} of {len(counter.files)} files (target <= {MAX_OPENS}): {judged}")


if __name__ == "__main__":
    main()
