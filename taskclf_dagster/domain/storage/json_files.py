"""Reads JSON files: the one reader of everything that a home holds as JSON, with limits.

What a file of a home holds may have been written by anyone. Reading it gives a value or `UnreadableFileError`, never another error, and
no value that a later step could fail on by its size, its depth or half a character in a key. Writing belongs to `files`.
"""

import hashlib
import json
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from taskclf_dagster.domain.storage.files import hash_file
from taskclf_dagster.domain.storage.records import replace_unrepresentable
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster.shown_text import reason_of

if TYPE_CHECKING:
    from upath import UPath

MAX_JSON_BYTES = 256 * 1024 * 1024


MAX_DEPTH = 64
"""Objects and arrays within each other."""


MAX_INNER_DEPTH = 32
"""The same of a file that becomes a part of a record: pointer and inference policy."""


MAX_KEY_LENGTH = 1024
"""Characters of a key."""


MAX_TEXT_LENGTH = 1024 * 1024
"""Characters of a string."""


MAX_DIGITS = 1000
"""Digits of an integer."""


MAX_VALUES = 10_000_000
"""Values in one document, counted by its commas and brackets."""


_RESTORE = "Restore the file or remove it"


_LARGEST = 10**MAX_DIGITS


_LONG_NUMBER = re.compile(rb"(?<![0-9])[0-9]{%d}" % (MAX_DIGITS + 1))


def read_json_object(path: Path, *, max_bytes: int = MAX_JSON_BYTES) -> dict[str, object]:
    """Reads a JSON object.

    Values that JSON cannot keep, but other programs write, are replaced: NaN and infinity by None, integers beyond 2**53 by doubles, half a
    character by a question mark.

    Raises:
        UnreadableFileError: the file is missing, is no regular file, cannot be read, is larger than `max_bytes` or beyond another limit of
            this module, is not JSON, its top level is not an object, or an object has a key twice or half a character in a key.
    """
    found = look_at_json(path, max_bytes=max_bytes)
    if found.error is not None:
        raise found.error
    if found.document is None:
        raise UnreadableFileError(path, "it does not exist", _RESTORE)
    return found.document


def parse_json_object(path: "Path | UPath", content: bytes, *, max_depth: int = MAX_DEPTH) -> dict[str, object]:
    """Parses the bytes of a file as a JSON object, under the rules of `read_json_object`.

    Raises:
        UnreadableFileError: it is none.
    """
    try:
        value = parse_json(content, max_depth=max_depth)
    except ValueError as error:
        raise UnreadableFileError(path, str(error), _RESTORE) from error
    if not isinstance(value, dict):
        raise UnreadableFileError(path, f"a JSON object was expected, not {type(value).__name__}", _RESTORE)
    return cast("dict[str, object]", replace_unrepresentable(value))


def parse_json(content: bytes, *, max_depth: int = MAX_DEPTH) -> object:
    """Parses JSON within the limits of this module; every value is kept as it is written, NaN and infinity included.

    Raises:
        ValueError: it is not JSON in UTF-8, an object has a key twice, or a limit is passed; the message says which.
    """
    _require(len(content) <= MAX_JSON_BYTES, f"it has {len(content)} bytes, and at most {MAX_JSON_BYTES} are read")
    _require(sum(map(content.count, (b",", b"[", b"{"))) <= MAX_VALUES, f"it has more than {MAX_VALUES} values")
    try:
        value = json.loads(content.decode("utf-8"), object_pairs_hook=_unique_keys)
    except RecursionError as error:
        raise ValueError(_too_deep(max_depth)) from error
    except ValueError as error:
        _require(_LONG_NUMBER.search(content) is None, _too_long())
        raise ValueError(str(error)) from error
    _check_limits(value, max_depth)
    return value


@dataclass(frozen=True)
class JsonFile:
    """A JSON file as found in one read.

    Attributes:
        path: the file.
        digest: SHA-256 of its bytes in hex; None if the file does not exist.
        document: the JSON object; None if the file does not exist or is not one.
        error: why the file cannot be read as a JSON object; None if it can or does not exist.
        content: its bytes; None if the file does not exist, is too large or cannot be read.
    """

    path: Path
    digest: str | None
    document: dict[str, object] | None
    error: UnreadableFileError | None
    content: bytes | None = field(default=None, repr=False)

    @property
    def exists(self) -> bool:
        return self.digest is not None


def look_at_json(path: Path, *, max_bytes: int = MAX_JSON_BYTES, max_depth: int = MAX_DEPTH) -> JsonFile:
    """Reads a JSON file once, for its hash and its contents, under the rules of `read_json_object`; never raises."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return JsonFile(path, "unreadable", None, UnreadableFileError(path, "it is not a regular file", _RESTORE))
        if status.st_size > max_bytes:
            reason = f"it has {status.st_size} bytes, and at most {max_bytes} are read"
            return JsonFile(path, hash_file(path), None, UnreadableFileError(path, reason, _RESTORE))
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return JsonFile(path, None, None, None)
    except (OSError, ValueError) as error:  # a name that is too long, or with a null byte
        return JsonFile(path, "unreadable", None, UnreadableFileError(path, reason_of(error), _RESTORE))
    return json_file(path, content, max_depth=max_depth)


def json_file(path: Path, content: bytes, *, max_depth: int = MAX_DEPTH) -> JsonFile:
    """Returns what `look_at_json` finds in a file of these bytes."""
    digest = hashlib.sha256(content).hexdigest()
    try:
        return JsonFile(path, digest, parse_json_object(path, content, max_depth=max_depth), None, content)
    except UnreadableFileError as error:
        return JsonFile(path, digest, None, error, content)


def has_half_character(text: str) -> bool:
    """Returns True if a text holds half of a surrogate pair, which no UTF-8 has."""
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)


def _check_limits(value: object, max_depth: int) -> None:
    """Checks every value and key, one level of nesting after the other."""
    level: list[object] = [value]
    depth = 0
    while level:
        containers = [item for item in level if isinstance(item, dict | list)]
        depth += bool(containers)
        _require(depth <= max_depth, _too_deep(max_depth))
        for item in level:
            if isinstance(item, str):
                if len(item) > MAX_TEXT_LENGTH:
                    raise ValueError(f"a string has {len(item)} characters, and at most {MAX_TEXT_LENGTH} are read")
            elif isinstance(item, int) and not -_LARGEST < item < _LARGEST:
                raise ValueError(_too_long())
        level = []
        for container in containers:
            if isinstance(container, dict):
                _check_keys(container)
            level.extend(container.values() if isinstance(container, dict) else container)


def _check_keys(keys: Iterable[str]) -> None:
    for key in keys:
        if len(key) > MAX_KEY_LENGTH:
            raise ValueError(f"a key has {len(key)} characters, and at most {MAX_KEY_LENGTH} are read")
        if has_half_character(key):
            raise ValueError(f"key {key[:40]!r} has half a character")


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def _too_deep(max_depth: int) -> str:
    return f"it is nested deeper than {max_depth} levels"


def _too_long() -> str:
    return f"a number has more than {MAX_DIGITS} digits"


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        repeated = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        msg = f"key {repeated[:40]!r} comes twice in one object"
        raise ValueError(msg)
    return value
