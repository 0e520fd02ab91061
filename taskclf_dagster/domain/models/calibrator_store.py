"""The calibrator store: a folder with a calibrator for every user and one for all others, in taskclf's format (contract, section 12).

A store is written once, below a name made of its content, and never changed: what names it has the old store or the new one, whole.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from taskclf_dagster.domain.models.calibrators import CalibrationMethod, Calibrator, calibrator_document, parse_calibrator
from taskclf_dagster.domain.storage.files import json_text, make_folders, move_folder, remove_tree, temporary_path, write_synced
from taskclf_dagster.domain.storage.filesystem import file_system
from taskclf_dagster.domain.storage.json_files import look_at_json
from taskclf_dagster.domain.storage.path_names import find_name_problem
from taskclf_dagster.errors import UnreadableFileError, UnsafeUserIdError
from taskclf_dagster.validation_text import describe_validation_error

NAME_DIGITS = 16
"""Hex digits of the hash that name a store."""


STORE, GLOBAL, USERS = "store.json", "global.json", "users"


_FIT_AGAIN = "`taskclf-dagster calibrate` fits new ones"


class _StoreFile(BaseModel):
    """store.json; unknown keys are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    method: CalibrationMethod = "temperature"
    user_count: Annotated[int, Field(ge=0)] | None = None
    user_ids: list[str] = []
    model_bundle_id: str | None = None
    model_schema_hash: str | None = None
    created_at: datetime | None = None


@dataclass(frozen=True)
class CalibratorStore:
    """Calibrators of one model.

    Attributes:
        method: how those that are not identity were fitted.
        everyone: the calibrator of users without one of their own.
        users: the calibrators of users, by id.
        model_id: the model that they were fitted for; None if taskclf did not write it.
        schema_hash: of that model.
        created_at: when they were fitted; None if taskclf did not write it.
        missing: users whose file is named and does not exist; they have the calibrator of everyone, as in taskclf.
    """

    method: CalibrationMethod
    everyone: Calibrator
    users: Mapping[str, Calibrator] = field(default_factory=dict)
    model_id: str | None = None
    schema_hash: str | None = None
    created_at: datetime | None = None
    missing: tuple[str, ...] = ()

    def calibrate(self, probabilities: npt.NDArray[np.float64], users: Sequence[str] | pd.Series) -> npt.NDArray[np.float64]:
        """Returns calibrated probabilities, shape (n, 8).

        Args:
            probabilities: of a model, shape (n, 8), columns in the order of LABELS.
            users: the user of each row, n of them.
        """
        code, names = pd.factorize(pd.Series(users, dtype="category"))
        calibrated, has_own = np.array(probabilities, dtype=np.float64), np.zeros(len(code), dtype=bool)
        for number, user in enumerate(map(str, names)):
            if user in self.users:
                mine = code == number
                calibrated[mine] = self.users[user].calibrate(calibrated[mine])
                has_own |= mine
        calibrated[~has_own] = self.everyone.calibrate(calibrated[~has_own])
        return calibrated

    @property
    def files(self) -> dict[str, bytes]:
        """The files of the store by path.

        Raises:
            UnsafeUserIdError: the id of a user cannot be the name of a file.
        """
        require_safe_users(self.users)
        store: dict[str, object] = {"method": self.method, "user_count": len(self.users), "user_ids": sorted(self.users)}
        created = None if self.created_at is None else self.created_at.isoformat()
        bound = {"model_bundle_id": self.model_id, "model_schema_hash": self.schema_hash, "created_at": created}
        store |= {key: value for key, value in bound.items() if value is not None}
        documents = {GLOBAL: calibrator_document(self.everyone)}
        documents |= {f"{USERS}/{user}.json": calibrator_document(each) for user, each in sorted(self.users.items())}
        return {name: json_text(document).encode() for name, document in {**documents, STORE: store}.items()}


def require_safe_users(users: Iterable[str]) -> None:
    """Checks that the ids of users can be names of files, and are no paths out of the store.

    Raises:
        UnsafeUserIdError: one cannot.
    """
    for user in users:
        problem = find_name_problem(f"{user}.json") or find_name_problem(user)
        if problem is not None:
            raise UnsafeUserIdError(user, problem)


def hash_store(files: Mapping[str, bytes]) -> str:
    """Returns SHA-256 in hex over names and bytes of the files of a store."""
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def is_named_by(folder: Path, digest: str) -> bool:
    """Returns True if a folder has the name that `save_calibrator_store` gives a store with this hash."""
    return folder.name == digest[:NAME_DIGITS]


def read_calibrator_store(folder: Path) -> CalibratorStore:
    """Reads a store that taskclf or this project wrote.

    Raises:
        UnreadableFileError: a file of it cannot be read or is none of a calibrator, or store.json names a user by a path.
    """
    return parse_calibrator_store(folder)[0]


def parse_calibrator_store(folder: Path) -> tuple[CalibratorStore, str]:
    """Reads a store as `read_calibrator_store` does, and the hash of its files as `hash_store` gives it; each is read once.

    Raises:
        UnreadableFileError: see `read_calibrator_store`.
    """
    path, files = folder / STORE, dict[str, bytes]()
    try:
        found = _StoreFile.model_validate(_read(folder, STORE, files))
        require_safe_users(found.user_ids)
    except ValidationError as error:
        raise UnreadableFileError(path, describe_validation_error(error), _FIT_AGAIN) from error
    except UnsafeUserIdError as error:
        raise UnreadableFileError(path, str(error), _FIT_AGAIN) from error
    everyone = _read_calibrator(folder, GLOBAL, files)
    names = {user: f"{USERS}/{user}.json" for user in dict.fromkeys(found.user_ids)}
    there = {user: name for user, name in names.items() if (folder / name).exists()}
    store = CalibratorStore(
        method=found.method,
        everyone=everyone,
        users={user: _read_calibrator(folder, name, files) for user, name in there.items()},
        model_id=found.model_bundle_id,
        schema_hash=found.model_schema_hash,
        created_at=found.created_at,
        missing=tuple(user for user in names if user not in there),
    )
    return store, hash_store(files)


def save_calibrator_store(parent: Path, store: CalibratorStore) -> Path:
    """Writes a store to a folder of `parent` that is named by the first hex digits of its hash, durably.

    The files are written under a temporary name, and get their own in one rename. A store that is there already is left as it is; one of
    that name with other content is replaced.

    Raises:
        UnsafeUserIdError: the id of a user cannot be the name of a file; nothing is written.
    """
    files = store.files
    folder = parent / hash_store(files)[:NAME_DIGITS]
    if folder.is_dir():
        if all(_has(folder / name, content) for name, content in files.items()):
            file_system().sync_folder(parent)  # the process that wrote it may not have come to this
            return folder
        aside = temporary_path(folder)
        move_folder(folder, aside)
        remove_tree(aside)
    temporary = temporary_path(folder)
    make_folders(temporary)
    if store.users:
        make_folders(temporary / USERS)
    for name, content in files.items():
        write_synced(temporary / name, content)
    for each in [temporary / USERS, temporary] if store.users else [temporary]:
        file_system().sync_folder(each)
    move_folder(temporary, folder)
    return folder


def _has(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


def _read(folder: Path, name: str, files: dict[str, bytes]) -> dict[str, object]:
    found = look_at_json(folder / name)
    if found.error is not None:
        raise found.error
    if found.document is None or found.content is None:
        raise UnreadableFileError(folder / name, "it does not exist", _FIT_AGAIN)
    files[name] = found.content
    return found.document


def _read_calibrator(folder: Path, name: str, files: dict[str, bytes]) -> Calibrator:
    try:
        return parse_calibrator(_read(folder, name, files))
    except ValueError as error:
        raise UnreadableFileError(folder / name, f"it is no calibrator: {error}", _FIT_AGAIN) from error
