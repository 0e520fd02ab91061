"""Whose the snapshots of a place are: of one home, whose retention removes what its own models do not need.

The first snapshot that goes to a place outside of a home is preceded by `owner.json`, the id of the home. Another home is refused.
"""

from pydantic import ValidationError

from taskclf_dagster.config.home_locations import read_locations
from taskclf_dagster.domain.data.home_places import snapshots_folder
from taskclf_dagster.domain.storage.files import json_text
from taskclf_dagster.domain.storage.home_id import HomeId, ensure_home_id, read_home_id
from taskclf_dagster.domain.storage.json_files import parse_json_object
from taskclf_dagster.domain.storage.places import Place, read_place, write_place
from taskclf_dagster.errors import ObjectMissingError, ObjectStoreError, UnreadableFileError
from taskclf_dagster.home import Home

OWNER_FILE = "owner.json"


def check_snapshot_owner(home: Home) -> bool:
    """Returns True if the place of a home's snapshots is its own, False if it is nobody's yet.

    Raises:
        ObjectStoreError: it is that of another home, or cannot be read.
        ObjectStoreUnavailableError: the store does not answer.
        SettingsError: the settings file of the home cannot be read.
        UnreadableFileError: the id of the home is damaged.
    """
    if read_locations(home).snapshots_url is None:
        return True
    file = _owner_file(home)
    try:
        owner = HomeId.model_validate(parse_json_object(file, read_place(file))).home_id
    except (FileNotFoundError, ObjectMissingError):
        return False
    except (UnreadableFileError, ValidationError) as error:
        raise _refuse(home, f"{OWNER_FILE} in it does not say which home it belongs to") from error
    if owner != read_home_id(home):
        raise _refuse(home, "it holds the snapshots of another home, whose retention would remove those of this one")
    return True


def claim_snapshot_place(home: Home) -> None:
    """Records that the place of a home's snapshots is its own, if it is nobody's yet; raises as `check_snapshot_owner`."""
    if not check_snapshot_owner(home):
        own = HomeId(home_id=ensure_home_id(home))
        write_place(_owner_file(home), json_text(own.model_dump(mode="json")).encode())


def _owner_file(home: Home) -> Place:
    return snapshots_folder(home) / OWNER_FILE


def _refuse(home: Home, reason: str) -> ObjectStoreError:
    fix = (
        f"Name a place of its own as home.snapshots_url in {home.settings_file.name} of the home; if the place is that of this home, "
        f"remove {_owner_file(home)}, and the next run writes it again"
    )
    return ObjectStoreError(str(snapshots_folder(home)), reason, fix)
