"""What a power loss may leave on a disk: every state that the calls made so far allow, computed from a recording of them.

The disk of this model is as bad as POSIX allows. A file's bytes are safe after `sync_file`, the names in a folder after `sync_folder`;
until then every single change may be on disk or not, whatever came before or after it, and written bytes may be there in part. A rename
within a folder is atomic; one from a folder to another may leave both names, but never none.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from taskclf_dagster.domain.storage.filesystem import FileSystem
from taskclf_dagster_tests.faults.injection import Tree

MAX_COMBINATIONS = 100_000
"""More than that at one point of a recording is an error of the test: nothing is left out in silence."""

_TEMPORARY = re.compile(r"(.*\.)\d+-[0-9a-f]{32}(\.tmp)$")


class TooManyStatesError(Exception):
    """An operation leaves so much unsynced that its states cannot all be tried."""


@dataclass(frozen=True, eq=False)
class Change:
    """One thing that was done to the disk; paths are relative to the home.

    Attributes:
        name: make_folder, create (an empty file), write (behind the end), truncate, rename (within a folder), link (a further name, in
            another folder), remove (a name), sync_file or sync_folder.
        other: the new name.
        content: what was written.
        size: what it was cut to [bytes].
    """

    name: str
    path: str
    other: str = ""
    content: bytes = b""
    size: int = 0


class RecordingFileSystem(FileSystem):
    """Does what it is told, and remembers every call that changed or synced something.

    Attributes:
        changes: the recording.
    """

    def __init__(self, root: Path) -> None:
        self.changes: list[Change] = []
        self._root = root

    def make_folder(self, path: Path) -> None:
        if not path.exists():
            super().make_folder(path)
            self._note("make_folder", path)

    def create(self, path: Path, content: bytes | Callable[[Path], object]) -> None:
        super().create(path, content)
        self._note("create", path)
        self._note("write", path, content=path.read_bytes())

    def append(self, path: Path, content: bytes) -> None:
        if not path.exists():
            self._note("create", path)
        super().append(path, content)
        self._note("write", path, content=content)

    def truncate(self, path: Path, size: int) -> None:
        super().truncate(path, size)
        self._note("truncate", path, size=size)

    def sync_file(self, path: Path) -> None:
        self._note("sync_file", path)

    def sync_folder(self, path: Path) -> None:
        self._note("sync_folder", path)

    def replace(self, source: Path, target: Path) -> None:
        super().replace(source, target)
        self._note_rename(source, target)

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        self._note_rename(source, target)

    def remove_file(self, path: Path) -> None:
        if path.exists():
            super().remove_file(path)
            self._note("remove", path)

    def remove_folder(self, path: Path) -> None:
        if path.is_dir():
            super().remove_folder(path)
            self._note("remove", path)

    def _note_rename(self, source: Path, target: Path) -> None:
        if source.parent == target.parent:
            self._note("rename", source, other=target)
        else:
            self._note("link", source, other=target)
            self._note("remove", source)

    def _note(self, name: str, path: Path, *, other: Path | None = None, content: bytes = b"", size: int = 0) -> None:
        target = "" if other is None else str(other.relative_to(self._root))
        self.changes.append(Change(name, str(path.relative_to(self._root)), target, content, size))


def crash_states(tree: Tree, changes: Sequence[Change], *, begin: int = 0) -> Iterator[tuple[int, Tree]]:
    """Every state that a power loss may leave, each once.

    Args:
        tree: what is on disk, all of it safely, before the first change.
        changes: the recording.
        begin: the number of changes that have been made at least.

    Yields:
        How many changes had been made when the state was possible first, and the state.

    Raises:
        TooManyStatesError: at one point there are more than MAX_COMBINATIONS.
    """
    disk = _Disk(tree)
    seen = set[frozenset[tuple[str, bytes | None]]]()
    for made in range(len(changes) + 1):
        if made > 0:
            disk.make(changes[made - 1])
        if made < begin or (made > begin and changes[made - 1].name.startswith("sync")):
            continue  # what is possible after a sync was possible before it
        for state in disk.states(changes[made - 1] if made > begin else None):
            key = frozenset(state.items())
            if key not in seen:
                seen.add(key)
                yield made, state


def end_states(tree: Tree, changes: Sequence[Change]) -> list[Tree]:
    """The states that a power loss may leave once all changes were made: what is safe by then is in each of them."""
    return [state for _, state in crash_states(tree, changes, begin=len(changes))]


@dataclass
class _File:
    """A file without its name.

    Attributes:
        safe: the bytes that are on disk for sure.
        live: the bytes that programs read.
        pending: each change since, oldest first, with the position it is for.
    """

    safe: bytes
    live: bytes
    pending: list[tuple[Change, int]] = field(default_factory=list)

    def contents(self, newest: Change | None) -> list[bytes]:
        """What may be in it; with `newest`, only what that last change took part in."""
        found = [self.safe]
        for change, position in self.pending:
            done = [new for content in found for new in _written(content, change, position)]
            found = list(dict.fromkeys(done if change is newest else found + done))
        return found


@dataclass
class _Folder:
    """A folder without its name.

    Attributes:
        safe: number of the file or folder of every name that is on disk for sure.
        pending: the changes since, oldest first, with what they make of each name; None is no file.
    """

    safe: dict[str, int]
    pending: list[tuple[Change, dict[str, int | None]]] = field(default_factory=list)

    def names(self, newest: Change | None) -> list[dict[str, int]]:
        """As `_File.contents`."""
        found = [self.safe]
        for change, names in self.pending:
            if len(found) > MAX_COMBINATIONS:
                raise TooManyStatesError(f"more than {MAX_COMBINATIONS} combinations of names")
            done = [_renamed(before, names) for before in found]
            several = done if change is newest else found + done
            found = list({frozenset(each.items()): each for each in several}.values())
        return found


_Possible = dict[int, list[bytes] | list[dict[str, int]]]


@dataclass(frozen=True)
class _Move:
    """A folder or file that got a name in another folder, and lost the one it had."""

    number: int
    source: int
    target: int
    old: str
    new: str

    def lost(self, chosen: dict[int, int], possible: _Possible) -> bool:
        """Whether it has neither name where both folders are there."""
        if self.source not in chosen or self.target not in chosen:
            return False
        names = ((self.source, self.old), (self.target, self.new))
        return all(possible[folder][chosen[folder]].get(name) != self.number for folder, name in names)  # type: ignore[union-attr]


class _Disk:
    """Files and folders by number, what is safe of them, and what programs see."""

    def __init__(self, tree: Tree) -> None:
        self._files: dict[int, _File] = {}
        self._folders: dict[int, _Folder] = {0: _Folder({})}
        self._live: dict[str, int] = {".": 0}
        self._moves: list[_Move] = []
        self._next = 1
        for path, content in sorted(tree.items()):
            self._parent(path).safe[Path(path).name] = self._add(path, content)

    def make(self, change: Change) -> None:
        """Does one thing: seen by programs at once, on disk maybe."""
        path, other = Path(change.path), Path(change.other)
        if change.name in ("write", "truncate"):
            file = self._files[self._live[change.path]]
            position = change.size if change.name == "truncate" else len(file.live)
            file.live = _written(file.live, change, position)[-1]
            file.pending.append((change, position))
        elif change.name == "sync_file":
            file = self._files[self._live[change.path]]
            file.safe, file.pending = file.live, []
        elif change.name == "sync_folder":
            folder = self._folders[self._live[change.path]]
            for _, names in folder.pending:
                folder.safe = _renamed(folder.safe, names)
            folder.pending = []
        elif change.name in ("create", "make_folder"):
            number = self._add(change.path, None if change.name == "make_folder" else b"")
            self._parent(change.path).pending.append((change, {path.name: number}))
        elif change.name == "remove":
            self._live.pop(change.path, None)
            self._parent(change.path).pending.append((change, {path.name: None}))
        else:
            if change.name == "link":
                numbers = [self._live[name] for name in (change.path, str(path.parent), str(other.parent))]
                self._moves.append(_Move(*numbers, path.name, other.name))
            self._move(change.path, change.other)
            gone = {path.name: None} if change.name == "rename" else {}
            self._parent(change.other).pending.append((change, {**gone, other.name: self._live[change.other]}))

    def states(self, newest: Change | None) -> Iterator[Tree]:
        """Every tree that may be found on the disk; with `newest`, those that the last change took part in."""
        possible: _Possible = {number: file.contents(newest) for number, file in self._files.items()}
        possible |= {number: folder.names(newest) for number, folder in self._folders.items()}
        live = set(self._live.values())
        moves = [move for move in self._moves if move.number in live]
        for combinations, (state, chosen) in enumerate(_trees([("", 0)], {}, {}, possible)):
            if combinations > MAX_COMBINATIONS:
                raise TooManyStatesError(f"more than {MAX_COMBINATIONS} combinations")
            if not any(move.lost(chosen, possible) for move in moves):
                yield state

    def _add(self, path: str, content: bytes | None) -> int:
        number = self._live[path] = self._next
        self._next += 1
        if content is None:
            self._folders[number] = _Folder({})
        else:
            self._files[number] = _File(content, content)
        return number

    def _move(self, path: str, other: str) -> None:
        for old in [old for old in self._live if old == path or old.startswith(f"{path}/")]:
            self._live[other + old.removeprefix(path)] = self._live.pop(old)

    def _parent(self, path: str) -> _Folder:
        return self._folders[self._live[str(Path(path).parent)]]


def _written(content: bytes, change: Change, position: int) -> list[bytes]:
    """What a change may make of a file's bytes, but for nothing at all; the last one is the whole change."""
    if change.name == "truncate":
        return [content[:position]]
    whole = change.content
    parts = [whole[: len(whole) // 2], bytes(len(whole)), whole]  # half of it; a longer file whose bytes never came; all of it
    return [content[:position].ljust(position, b"\0") + part + content[position + len(part) :] for part in parts]


def _renamed(names: dict[str, int], change: dict[str, int | None]) -> dict[str, int]:
    return {name: number for name, number in {**names, **change}.items() if number is not None}


def _trees(
    waiting: list[tuple[str, int]], tree: Tree, chosen: dict[int, int], possible: _Possible
) -> Iterator[tuple[Tree, dict[int, int]]]:
    """Every tree below some files and folders, one possibility after the other for each of those that have a name.

    Args:
        waiting: path and number of what is not in the tree yet.
        tree: what is in it already.
        chosen: which possibility was taken for each number, so that two names of one folder hold the same.
        possible: the possibilities for each number: bytes of a file, names in a folder.

    Yields:
        The tree, and what was chosen.
    """
    waiting, tree, chosen = list(waiting), dict(tree), dict(chosen)
    while waiting:
        path, number = waiting.pop()
        several = possible[number]
        if len(several) > 1 and number not in chosen:
            for choice in range(len(several)):
                yield from _trees([*waiting, (path, number)], tree, {**chosen, number: choice}, possible)
            return
        content = several[chosen.setdefault(number, 0)]
        if path:
            tree[path] = content if isinstance(content, bytes) else None
        if isinstance(content, dict):
            seen = Counter[str]()
            prefix = f"{path}/" if path else ""
            waiting += [(prefix + _stable_name(name, seen), inner) for name, inner in sorted(content.items())]
    yield tree, chosen


def _stable_name(name: str, seen: Counter[str]) -> str:
    match = _TEMPORARY.fullmatch(name)
    if match is None:
        return name
    stem = match[1] + match[2]
    seen[stem] += 1
    return f"{match[1]}{seen[stem]:032x}{match[2]}"
