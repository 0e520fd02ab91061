"""The folder of datasets and fits that replays share: each entry is named by everything that it follows from, and never changes.

`artifacts/backtest/` is safe to delete: what is missing is computed again. An entry holds a record and files, each with its path in a home.
"""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from taskclf_dagster.domain.storage.files import (
    list_folders,
    make_folders,
    move_folder,
    remove_tree,
    temporary_path,
    write_json,
    write_second_name,
)
from taskclf_dagster.domain.storage.json_files import read_json_object
from taskclf_dagster.domain.storage.records import json_hash
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster.home import Home

ENTRY, FILES = "entry.json", "files"


_HASH = "record_hash"


class ContentStore:
    """Entries of one kind.

    Args:
        folder: of the entries.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, key: str) -> dict[str, object] | None:
        """Returns the record of an entry; None if there is none, or it is damaged, so that it is made again."""
        try:
            document = read_json_object(self.folder / key / ENTRY)
        except UnreadableFileError:
            return None
        return document if document.pop(_HASH, None) == json_hash(document) else None

    def link(self, key: str, home: Home) -> None:
        """Makes the files of an entry appear in a home under their paths; those that are there stay."""
        root = self.folder / key / FILES
        for path in sorted(root.rglob("*")) if root.is_dir() else ():
            target = home.root / path.relative_to(root)
            if path.is_file() and not target.exists():
                write_second_name(target, path)

    def add(self, key: str, document: dict[str, object], home: Home, files: Iterable[Path]) -> None:
        """Keeps a record and files of a home, unless another replay has kept them in the meantime.

        Args:
            key: the name of the entry.
            document: the record.
            home: whose files they are.
            files: the files, below the folder of the home.
        """
        staging = temporary_path(self.folder / key)
        make_folders(staging)
        try:
            for path in files:
                write_second_name(staging / FILES / path.relative_to(home.root), path)
            write_json(staging / ENTRY, {**document, _HASH: json_hash(document)})
            if (self.folder / key).exists() and self.read(key) is None:
                remove_tree(self.folder / key)
            with suppress(FileExistsError):
                move_folder(staging, self.folder / key)
        finally:
            if staging.exists():
                remove_tree(staging)

    def list_keys(self) -> list[str]:
        """Returns the names of the entries."""
        return [path.name for path in list_folders(self.folder)]
