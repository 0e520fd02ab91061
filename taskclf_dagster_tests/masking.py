"""Masks what differs between runs and machines, so that wording can be kept in a snapshot: folders, times, ids, hashes."""

import re
from pathlib import Path

_MASKS = (
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "RUN"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[_T]\d{6}(?:Z|\b)"), "STAMP"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?: UTC|Z|[+-]\d\d:\d\d)?"), "TIME"),
    (re.compile(r"\b(?=[0-9a-f]*\d)(?:[0-9a-f]{64}|[0-9a-f]{32}|[0-9a-f]{16}|[0-9a-f]{8})\b"), "HASH"),
)


def masked(text: object, *folders: Path, also: dict[str, str] | None = None) -> str:
    """A text without what differs: temporary folders, run ids, times, hashes, and what a test names.

    Args:
        text: the text.
        folders: their paths become FOLDER; the first is masked first, so name the inner one first.
        also: further patterns and what they become.
    """
    found = str(text)
    for folder in folders:
        found = found.replace(str(folder), "FOLDER")
    for pattern, name in (also or {}).items():
        found = re.sub(pattern, name, found)
    for mask, name in _MASKS:
        found = mask.sub(name, found)
    return found


def table_words(text: object) -> str:
    """A printed table without what its figures decide: widths and rules; every figure with a decimal point becomes N."""
    plain = re.sub(r"[-+]?\d+\.\d+(?:e[-+]?\d+)?", "N", str(text))
    plain = re.sub(r"-{3,}", "---", plain)
    return "\n".join(re.sub(r" {2,}", "  ", line).rstrip() for line in plain.splitlines())
