"""The home that a Dagster instance belongs to: a record in the folder of the instance, written by the first start.

All homes of an instance would share its assets, so that a retrain of one changes what the lineage shows of another
(docs/adr/0009-one-home-per-instance.md). A home that was moved is recognized by its id; a copy of it is another home. An instance that
serves many homes has such a record for each name (`instance_homes`).
"""

from pathlib import Path

from pydantic import ValidationError

from taskclf_dagster.domain.storage.files import write_json
from taskclf_dagster.domain.storage.folder_lock import lock_folder
from taskclf_dagster.domain.storage.home_id import find_home_id
from taskclf_dagster.domain.storage.instance_homes import HOMES_FOLDER, ONE_HOME_RECORD, record_folder
from taskclf_dagster.domain.storage.json_files import look_at_json
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import HomesFileError, InstanceError, UnreadableFileError
from taskclf_dagster.home import Home

RECORD_NAME = ONE_HOME_RECORD


MAX_BYTES = 64 * 1024


LOCK_SECONDS = 30.0


class InstanceOwner(Record):
    """The home of an instance.

    Attributes:
        home: absolute path of the home without symbolic links.
        home_id: id of the home; None if it had none yet.
        former: paths at which the same home was before, which the tags of older runs name.
    """

    home: str
    home_id: str | None = None
    former: tuple[str, ...] = ()


def read_owner(folder: Path) -> InstanceOwner | None:
    """Returns the home that an instance belongs to; None if no home has used it yet.

    Raises:
        UnreadableFileError: the record is damaged.
    """
    path = folder / RECORD_NAME
    file = look_at_json(path, max_bytes=MAX_BYTES)
    if file.document is None and file.error is None:
        return None
    try:
        return InstanceOwner.model_validate(file.document)
    except ValidationError as error:
        reason = "it does not name the home of the instance" if file.error is None else file.error.reason
        raise UnreadableFileError(path, reason, "Delete it if this instance is that of your home: the next run writes it again.") from error


def is_owned_by(folder: Path, owner: InstanceOwner, home: Home) -> bool:
    """Returns True if an instance belongs to a home: by its path, by being a folder of the home, or by its id if it was moved."""
    root, recorded = home.root.resolve(), Path(owner.home)
    if owner.home == str(root) or _is_same_folder(recorded, root) or folder.resolve().is_relative_to(root):
        return True
    moved_id = find_home_id(home)
    return moved_id is not None and moved_id == owner.home_id and find_home_id(Home(recorded)) != moved_id


def check_owner(folder: Path, home: Home) -> InstanceOwner | None:
    """Returns the record of an instance that belongs to a home; None if it belongs to none yet.

    Raises:
        HomesFileError: the instance serves many homes, and its homes file is not valid.
        InstanceError: it belongs to another home, or its name in the homes file does.
        UnreadableFileError: the record is damaged.
    """
    own = record_folder(folder, home)
    return _check(own, home)


def _check(folder: Path, home: Home) -> InstanceOwner | None:
    owner = read_owner(folder)
    if owner is not None and not is_owned_by(folder, owner, home):
        root = home.root.resolve()
        if folder.parent.name == HOMES_FOLDER:
            reason = f"the name {folder.name} is that of the home {owner.home}, whose history it has, and this is {root}"
            fix = f"Give this home another name. If the home was moved or restored to {root}, delete {folder / RECORD_NAME}"
            raise InstanceError(folder.parents[1], "other_home", reason, fix)
        reason = f"it belongs to the home {owner.home}, and this is {root}; an instance has one home"
        fix = (
            f"Give this home an instance of its own, `taskclf-dagster init --home {root}` makes one: DAGSTER_HOME={Home(root).instance}. "
            f"If the home of the instance was moved or restored to {root}, delete {folder / RECORD_NAME}"
        )
        raise InstanceError(folder, "other_home", reason, fix)
    return owner


def claim_instance(folder: Path, home: Home) -> None:
    """Records the home of an instance, if it has none; notes the new path or the id of a home that was moved, or got its id since.

    Raises:
        HomesFileError: as `check_owner`.
        InstanceError: as `check_owner`.
        UnreadableFileError: the record is damaged.
        OSError: the record cannot be written.
    """
    own = record_folder(folder, home)
    owner = _check(own, home)
    if owner == _describe(home, owner):
        return
    own.mkdir(parents=True, exist_ok=True)
    with lock_folder(own, timeout=LOCK_SECONDS):
        owner = _check(own, home)
        described = _describe(home, owner)
        if owner != described:
            write_json(own / RECORD_NAME, described.model_dump(mode="json"))


def find_former_paths(folder: Path, home: Home) -> frozenset[str]:
    """Returns the paths that tags of this instance's runs may name for a home, besides its own; empty if it has another home."""
    try:
        owner = check_owner(folder, home)
    except (HomesFileError, InstanceError, UnreadableFileError):
        return frozenset()
    return frozenset() if owner is None else frozenset({owner.home, *owner.former})


def _describe(home: Home, owner: InstanceOwner | None) -> InstanceOwner:
    """Returns the record that a home's instance should have."""
    root, former = str(home.root.resolve()), set() if owner is None else {owner.home, *owner.former}
    return InstanceOwner(home=root, home_id=find_home_id(home), former=tuple(sorted(former - {root})))


def _is_same_folder(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        return False
