"""The homes that a Dagster instance serves where it serves many: a record in its folder names the homes file (docs/adr/0015-many-homes.md).

Which home has a name is recorded for each name below `HOMES_FOLDER`, as `instance_owner` does for an instance with one home, so that a name
never comes to stand for another home unnoticed.
"""

from pathlib import Path

from pydantic import ValidationError

from taskclf_dagster.config.home_directory import HomeDirectory
from taskclf_dagster.domain.storage.files import write_json
from taskclf_dagster.domain.storage.folder_lock import lock_folder
from taskclf_dagster.domain.storage.json_files import look_at_json
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import InstanceError, UnreadableFileError
from taskclf_dagster.home import Home

RECORD_NAME, HOMES_FOLDER, ONE_HOME_RECORD = "taskclf_homes.json", "taskclf_homes", "taskclf_home.json"


LOCK_SECONDS = 30.0


class InstanceHomes(Record):
    """The homes file of an instance that serves many homes.

    Attributes:
        homes_file: its absolute path.
    """

    homes_file: str


def find_directory(folder: Path) -> HomeDirectory | None:
    """Returns the homes that an instance serves; None if it belongs to one home, or to none yet.

    Raises:
        UnreadableFileError: the record is damaged.
    """
    path = folder / RECORD_NAME
    file = look_at_json(path, max_bytes=64 * 1024)
    if file.document is None and file.error is None:
        return None
    try:
        return HomeDirectory(Path(InstanceHomes.model_validate(file.document).homes_file))
    except ValidationError as error:
        reason = "it does not name the homes file of the instance" if file.error is None else file.error.reason
        raise UnreadableFileError(path, reason, "Delete it: `taskclf-dagster serve --homes` writes it again.") from error


def claim_for_homes(folder: Path, directory: HomeDirectory) -> None:
    """Records that an instance serves the homes of a homes file; nothing is written if it does already.

    Raises:
        InstanceError: it belongs to one home, or serves the homes of another file.
        UnreadableFileError: the record is damaged.
        OSError: the record cannot be written.
    """
    if find_directory(folder) == directory:
        return
    with lock_folder(folder, timeout=LOCK_SECONDS):
        served = find_directory(folder)
        if served is not None and served != directory:
            reason = f"it serves the homes of {served.path}, and this is {directory.path}"
            fix = f"Name that file, or delete {folder / RECORD_NAME} if it was moved to {directory.path}"
            raise InstanceError(folder, "other_home", reason, fix)
        if (folder / ONE_HOME_RECORD).exists():
            fix = "Set DAGSTER_HOME to a folder of its own for many homes"
            raise InstanceError(folder, "other_home", "it belongs to one home, and an instance of one home serves no others", fix)
        write_json(folder / RECORD_NAME, InstanceHomes(homes_file=str(directory.path)).model_dump(mode="json"))


def find_partition(folder: Path, home: Home) -> str | None:
    """Returns the name of a home, which is its partition key; None if the instance is one of a single home, or of none yet.

    Raises:
        HomesFileError: the homes file is not valid.
        InstanceError: the instance serves many homes, and this is none of them.
        UnreadableFileError: the record is damaged.
    """
    directory = find_directory(folder)
    if directory is None:
        return None
    name = directory.find_name(home)
    if name is None:
        reason = f"it serves the homes of {directory.path}, and {home.root.resolve()} is none of them"
        fix = f"Add it there, or give this home an instance of its own, `taskclf-dagster init --home {home.root}` makes one"
        raise InstanceError(folder, "other_home", reason, fix)
    return name


def record_folder(folder: Path, home: Home) -> Path:
    """Returns the folder that holds the record of a home: that of the instance, or in one of many homes a folder for its name.

    Raises:
        HomesFileError: the homes file is not valid.
        InstanceError: the instance serves many homes, and this is none of them.
        UnreadableFileError: the record of the homes file is damaged.
    """
    name = find_partition(folder, home)
    return folder if name is None else folder / HOMES_FOLDER / name
