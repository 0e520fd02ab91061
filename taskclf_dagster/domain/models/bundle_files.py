"""The files of a bundle as bytes, each read at most once; `bundle` and `manifest` interpret them."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

MODEL, METADATA, METRICS = "model.txt", "metadata.json", "metrics.json"


CONFUSION, ENCODERS, TRAINING_ROWS = "confusion_matrix.csv", "categorical_encoders.json", "training_rows.npy"


OUT_OF_FOLD = "out_of_fold.parquet"


MANIFEST = "MANIFEST.json"


MODEL_CARD = "MODEL_CARD.md"
"""For people, in promoted bundles. The manifest names it, no receipt does, and a model runs without it."""


REQUIRED = (MODEL, METADATA, METRICS, CONFUSION, ENCODERS)
"""The files of every bundle (contract, section 7)."""


KNOWN = (*REQUIRED, TRAINING_ROWS, OUT_OF_FOLD)
"""The files that count in every bundle. A receipt or a manifest may name more; all others are ignored."""


@dataclass(frozen=True)
class BundleFiles:
    """The files of a bundle at one moment: their names, and their bytes, which are read at most once.

    Attributes:
        folder: the bundle.
        names: its regular files, sorted, without hidden ones, which file managers write. Empty if the folder does not exist.
    """

    folder: Path
    names: tuple[str, ...]
    _contents: dict[str, bytes] = field(default_factory=dict, repr=False, compare=False)

    @property
    def model_id(self) -> str:
        return self.folder.name

    def content(self, name: str) -> bytes:
        """Returns the bytes of a file.

        Raises:
            OSError: it is missing or cannot be read.
        """
        if name not in self._contents:
            self._contents[name] = (self.folder / name).read_bytes()
        return self._contents[name]

    def text(self, name: str) -> str:
        """Returns a file as text with Unix line ends, as Python's text mode reads it.

        Raises:
            OSError: it is missing or cannot be read.
            UnicodeDecodeError: it is not UTF-8.
        """
        return self.content(name).decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")

    def hashes(self) -> dict[str, str]:
        """Returns the SHA-256 of the files that count in every bundle, by name.

        Raises:
            OSError: a file cannot be read.
        """
        return self._hashes_of(KNOWN)

    def _hashes_of(self, names: Iterable[str]) -> dict[str, str]:
        return {name: hashlib.sha256(self.content(name)).hexdigest() for name in sorted({*names}.intersection(self.names))}

    def find_changed(self, expected: Mapping[str, str]) -> list[str]:
        """Returns the names of the files whose SHA-256 is not the expected one.

        Missing files are among them, and those that count in every bundle and were not expected.

        Raises:
            OSError: a file cannot be read.
        """
        found = self._hashes_of([*KNOWN, *expected])
        return sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))

    def with_contents(self, contents: Mapping[str, bytes]) -> "BundleFiles":
        """Returns the bundle as it is after these files were written."""
        return BundleFiles(self.folder, tuple(sorted({*self.names, *contents})), {**self._contents, **contents})

    def at(self, folder: Path) -> "BundleFiles":
        """Returns the files as they are after the bundle was moved."""
        return BundleFiles(folder, self.names, self._contents)


def read_bundle_files(folder: Path) -> BundleFiles:
    """Lists the files of a folder; never raises. Their bytes are read on demand."""
    try:
        names = tuple(sorted(path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")))
    except OSError:
        names = ()
    return BundleFiles(folder, names)


def has_bundle_files(files: BundleFiles) -> bool:
    """Returns True if a folder has at least one file of a bundle; a folder of a person or of another program has none."""
    return not {*files.names}.isdisjoint((*KNOWN, MANIFEST))


def bundle_hashes(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of the files of a bundle that count, by name."""
    return read_bundle_files(folder).hashes()
