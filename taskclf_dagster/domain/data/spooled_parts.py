"""Parts of an object store on disk for as long as they are used: each is fetched once, also where its columns are read one by one."""

import mmap
import tempfile
from collections.abc import Callable, Iterable
from itertools import pairwise


def spool_parts(reads: Iterable[Callable[[], bytes | memoryview]]) -> list[memoryview]:
    """Returns the bytes of parts, of which one at a time is in memory while they are fetched.

    They are in one temporary file without a name, in the folder that TMPDIR names, which is given back when nothing refers to the result
    any more, however the process ends.

    Args:
        reads: for each part a function that fetches it.
    """
    ends = [0]
    with tempfile.TemporaryFile(prefix="taskclf-dagster-") as file:
        for read in reads:
            ends.append(ends[-1] + file.write(read()))
        file.flush()
        view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if ends[-1] else b"")
    return [view[start:end] for start, end in pairwise(ends)]
