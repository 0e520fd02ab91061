"""The history of the active pointer: one line a change, numbered, checksummed and chained, so that nothing is lost unseen.

Other programs append lines without number or checksum; these are theirs, not damage. One record is in `history_record`.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC
from functools import cached_property
from typing import cast

from taskclf_dagster.domain.registry.history_record import MOVES, ActiveHistoryEntry, BlockedModel
from taskclf_dagster.domain.registry.pointer import ActivePointer
from taskclf_dagster.domain.storage.files import make_folders
from taskclf_dagster.domain.storage.filesystem import file_system
from taskclf_dagster.domain.storage.home_id import ensure_home_id, find_home_id
from taskclf_dagster.domain.storage.json_files import parse_json
from taskclf_dagster.domain.storage.records import canonical_json, json_hash, replace_unrepresentable
from taskclf_dagster.domain.storage.signatures import NO_KEYS, Keys
from taskclf_dagster.home import Home

MAX_SEQUENCE = 2**52
"""The largest number of a record. Canonical JSON keeps integers up to 2**53."""


MAX_LOST_SEQUENCE = 2**51
"""The largest number of a pointer after which records go on; one beyond it was made up, and would leave no numbers."""


MAX_FOREIGN_LINE_BYTES = 32 * 1024 * 1024


_CHECKSUM = "checksum"


_SIGNATURE = "signature"


@dataclass(frozen=True)
class History:
    """The content of the history file.

    Attributes:
        entries: the lines that can be trusted, oldest first.
        problems: what is wrong with a line, by its number, counted from 1.
        whole: the bytes of the whole lines.
        torn: the bytes behind the last newline, left by a write that was cut off; an entry all the same if it is a whole one.
        digest: SHA-256 of the whole lines.
        lines: number of whole lines.
        untrusted: indexes of the entries that are not signed with a trusted key; empty if signatures are not checked. Nothing follows from
            them but that what they block stays blocked.
        unreadable: why it is no file that could be read, for example because it is a folder; None if it is one, or does not exist.
    """

    entries: list[ActiveHistoryEntry]
    problems: dict[int, str]
    whole: bytes
    torn: bytes
    digest: str
    lines: int
    untrusted: frozenset[int] = frozenset()
    unreadable: str | None = None

    @cached_property
    def trusted(self) -> list[ActiveHistoryEntry]:
        """The entries that count, oldest first."""
        return [entry for index, entry in enumerate(self.entries) if index not in self.untrusted]

    @property
    def size(self) -> int:
        """Bytes of the whole lines."""
        return len(self.whole)

    @property
    def exists(self) -> bool:
        """True if the file is not empty, or cannot be read."""
        return bool(self.whole or self.torn) or self.unreadable is not None

    @cached_property
    def sequence(self) -> int:
        """The number of the last own record, 0 without any."""
        return max((entry.sequence or 0 for entry in self.entries), default=0)

    @cached_property
    def moves(self) -> list[ActiveHistoryEntry]:
        """The changes that took effect, oldest first: foreign ones, and own ones that were not aborted."""
        aborted = {number for entry in self.trusted if entry.action == "abort" for number in entry.subject}
        return [
            entry
            for entry in self.trusted
            if entry.new is not None and (entry.foreign or (entry.action in MOVES and str(entry.sequence) not in aborted))
        ]

    @cached_property
    def known_models(self) -> list[ActivePointer]:
        """Models that ran and are not blocked, each once, the one that ran last first."""
        known: dict[str, ActivePointer] = {}
        for entry in reversed(self.moves):
            if entry.new is not None and entry.new.name not in self.blocked:
                known.setdefault(entry.new.model_dir, entry.new)
        return list(known.values())

    @cached_property
    def policies(self) -> list[dict[str, object]]:
        """The inference policies of the changes that took effect, the newest first."""
        return [entry.policy for entry in reversed(self.moves) if entry.policy is not None and "model_dir" in entry.policy]

    @cached_property
    def policy_states(self) -> list[dict[str, object] | None]:
        """The inference policies as they were recorded, the newest first; None for one that was removed."""
        changes = [entry for entry in reversed(self.moves) if entry.policy_removed or "model_dir" in (entry.policy or {})]
        return [None if entry.policy_removed else entry.policy for entry in changes]

    def policies_of(self, model_dir: str | None) -> list[dict[str, object]]:
        """Returns the policies with which a model ran, the newest first; none from before a removal of its policy."""
        found: list[dict[str, object]] = []
        for entry in reversed(self.moves):
            if entry.policy_removed and entry.new is not None and entry.new.model_dir == model_dir:
                break
            if entry.policy is not None and "model_dir" in entry.policy and entry.policy["model_dir"] == model_dir:
                found.append(entry.policy)
        return found

    @property
    def last_move(self) -> ActiveHistoryEntry | None:
        return self.moves[-1] if self.moves else None

    @cached_property
    def blocked(self) -> dict[str, BlockedModel]:
        """Models that must not be promoted, by id."""
        blocked: dict[str, BlockedModel] = {}
        for entry in self._blocks_and_unblocks:
            if entry.blocks is not None:
                blocked[entry.blocks.model_id] = entry.blocks
            if entry.action == "unblock":
                for model_id in entry.subject:
                    blocked.pop(model_id, None)
        return blocked

    @property
    def _blocks_and_unblocks(self) -> list[ActiveHistoryEntry]:
        """The changes that took effect, entries that may only block, and unblocks that count."""
        counted = {id(entry) for entry in [*self.moves, *(entry for entry in self.trusted if entry.action == "unblock")]}
        blocking = {id(self.entries[index]) for index in self.untrusted if self.entries[index].action != "unblock"}
        return [entry for entry in self.entries if id(entry) in counted | blocking]

    @cached_property
    def pruned(self) -> set[str]:
        """Model ids that were removed on purpose."""
        return {model_id for entry in self.entries if entry.action == "prune" for model_id in entry.subject}

    @cached_property
    def open_problems(self) -> dict[int, str]:
        """Problems that no later record acknowledges."""
        noted = {number for entry in self.trusted for number in entry.acknowledges}
        return {number: words for number, words in self.problems.items() if number not in noted}


def read_history(home: Home, keys: Keys = NO_KEYS) -> History:
    """Reads the history and checks every line of ours: checksum, number, the hash of all bytes before it; with public keys its signature.

    A line that is no entry, or whose checksum is wrong, is a problem and is not among the entries; so is a gap in the numbers or a
    broken chain, but such an entry stays. If what has the name of the file is no file, `unreadable` has the reason.
    """
    is_file = home.active_history.is_file()
    history = parse_history(home.active_history.read_bytes() if is_file else b"", _find_untrusted(home, keys))
    if is_file or not os.path.lexists(home.active_history):
        return history
    return replace(history, unreadable="it is a folder" if home.active_history.is_dir() else "it is no regular file")


def _find_untrusted(home: Home, keys: Keys) -> Callable[[ActiveHistoryEntry, bytes], bool] | None:
    """Returns the function that is True for an entry, and its line, without a trusted signature for this home; None without public keys."""
    if not keys.required:
        return None
    home_id = find_home_id(home)

    def is_untrusted(entry: ActiveHistoryEntry, line: bytes) -> bool:
        if entry.foreign or home_id is None or entry.home_id != home_id:
            return True
        return keys.find_problem(entry.signature, "history record", home_id, _signed_hash(parse_json(line))) is not None

    return is_untrusted


def _signed_hash(document: object) -> str:
    """Returns the hash that is signed: of a line without its signature and its checksum."""
    line = cast("dict[str, object]", document)
    return json_hash({key: value for key, value in line.items() if key not in (_CHECKSUM, _SIGNATURE)})


def parse_history(content: bytes, is_untrusted: Callable[[ActiveHistoryEntry, bytes], bool] | None = None) -> History:
    """Reads a history from the bytes of its file, as `read_history` does; `is_untrusted` is None if signatures are not checked."""
    whole, newline, torn = content.rpartition(b"\n")
    digest, sequence = hashlib.sha256(), 0
    entries: list[ActiveHistoryEntry] = []
    problems: dict[int, str] = {}
    untrusted: set[int] = set()
    lines = (whole + newline).split(b"\n")[:-1]
    for number, line in enumerate(lines, start=1):
        entry, problem = _parse(line, digest.hexdigest(), sequence)
        if problem is not None:
            problems[number] = problem
        if entry is not None:
            if is_untrusted is not None and is_untrusted(entry, line):
                untrusted.add(len(entries))
            entries.append(entry)
            sequence = max(sequence, entry.sequence or 0)
        digest.update(line + b"\n")
    last = _parse(torn, digest.hexdigest(), sequence)[0] if torn else None
    if last is not None:
        if is_untrusted is not None and is_untrusted(last, torn):
            untrusted.add(len(entries))
        entries.append(last)
    return History(entries, problems, whole + newline, torn, digest.hexdigest(), len(lines), frozenset(untrusted))


def append_active_history(home: Home, entry: ActiveHistoryEntry, history: History | None = None, keys: Keys = NO_KEYS) -> History:
    """Appends one line, durably: the entry with its number, the hash of all bytes before it, its checksum, and its signature if it has one.

    Args:
        home: the taskclf home; its registry lock is held.
        entry: gets the next number and the home's id unless it has one.
        history: as it was just read, without a torn tail; None reads it.
        keys: sign the line.

    Returns:
        The history with the entry, as written, at its end.
    """
    history = history or read_history(home)
    number = history.sequence + 1 if entry.sequence is None else entry.sequence
    home_id = entry.home_id or (find_home_id(home) if keys.private is None else ensure_home_id(home))
    chain = {"sequence": number, "home_id": home_id, "previous_hash": history.digest, "signature": None, "checksum": None}
    chained = entry.model_copy(update=chain)
    chained = chained.model_copy(update={"signature": keys.sign("history record", home_id or "", json_hash(chained.document))})
    sealed = chained.model_copy(update={"checksum": json_hash(chained.document)})
    make_folders(home.models)
    new = not home.active_history.exists()
    line = canonical_json(sealed.document).encode() + b"\n"
    file_system().append(home.active_history, line)
    file_system().sync_file(home.active_history)
    if new:
        file_system().sync_folder(home.models)
    return parse_history(history.whole + line, _find_untrusted(home, keys))


def cut_history(home: Home, size: int) -> None:
    """Takes back what was appended behind a size [bytes]: a torn tail, or a line nobody has acted on."""
    file_system().truncate(home.active_history, size)
    file_system().sync_file(home.active_history)


def is_whole_line(torn: bytes) -> bool:
    """Returns True if a last line without newline is a complete record."""
    return _parse(torn, "", 0)[0] is not None


def _parse(line: bytes, digest: str, sequence: int) -> tuple[ActiveHistoryEntry | None, str | None]:
    try:
        document = parse_json(line)
        entry = ActiveHistoryEntry.model_validate(replace_unrepresentable(document))
        entry.at.astimezone(UTC)
    except (ValueError, OverflowError):  # also pydantic's; a time that is none in UTC
        return None, "it is not a history entry"
    if entry.sequence is None and len(line) > MAX_FOREIGN_LINE_BYTES:
        return None, f"it has {len(line)} bytes, and at most {MAX_FOREIGN_LINE_BYTES} are read"
    if entry.sequence is not None and entry.sequence > MAX_SEQUENCE:
        return None, f"its number is beyond {MAX_SEQUENCE}"
    if entry.foreign:
        return entry, None
    if not _checksum_holds(cast("dict[str, object]", document)):
        return None, f"its checksum is wrong: record {entry.sequence} was changed after it was written"
    if entry.previous_hash != digest:
        return entry, f"the chain is broken: what stands before record {entry.sequence} was changed after it was written"
    if entry.sequence != sequence + 1:
        return entry, f"record {sequence + 1} was expected, but this is record {entry.sequence}"
    return entry, None


def _checksum_holds(document: dict[str, object]) -> bool:
    try:
        return document.get(_CHECKSUM) == json_hash({key: value for key, value in document.items() if key != _CHECKSUM})
    except ValueError:  # not a number, or half a character: we never wrote that
        return False
