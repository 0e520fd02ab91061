"""The calibrators that taskclf applies to the active model: those that its inference policy names. Nothing here writes."""

from pathlib import Path
from typing import NamedTuple

from taskclf_dagster.domain.decision.references import AppliedCalibration
from taskclf_dagster.domain.models.bundle_paths import resolve_model_dir
from taskclf_dagster.domain.models.calibrator_store import CalibratorStore, parse_calibrator_store
from taskclf_dagster.errors import BundleError, UnreadableFileError
from taskclf_dagster.home import Home

NOT_CALIBRATED = "its scores are used as they are, as taskclf does where there is no store, with the threshold of the policy"


class Calibrators(NamedTuple):
    """Calibrators of a policy.

    Attributes:
        applied: what a receipt keeps of them; None if the policy names none, or they cannot be read.
        store: the calibrators themselves; None where `applied` is.
        problem: why they cannot be read, or a part of them; None if all can, or there are none.
    """

    applied: AppliedCalibration | None
    store: CalibratorStore | None
    problem: str | None


NO_CALIBRATORS = Calibrators(None, None, None)


def find_calibrators(home: Home, policy: dict[str, object] | None) -> Calibrators:
    """Reads the calibrators that a policy names; never raises for what is in a file.

    taskclf goes on without calibrators if the store does not exist, and with those of everyone for a user whose file is lost.
    """
    value = None if policy is None else policy.get("calibrator_store_dir")
    if value is None:
        return NO_CALIBRATORS
    try:
        store, digest = parse_calibrator_store(resolve_model_dir(home, str(value)))
        applied = AppliedCalibration(path=str(value), method=store.method, sha256=digest)
    except (BundleError, UnreadableFileError) as error:
        return Calibrators(None, None, f"the calibrators in {value} cannot be used ({error}): {NOT_CALIBRATED}")
    lost = f"{value} lacks the calibrators of {', '.join(store.missing)}: those of everyone are used" if store.missing else None
    return Calibrators(applied, store, lost)


def load_applied(home: Home, applied: AppliedCalibration) -> CalibratorStore:
    """Reads the calibrators that a receipt names.

    Raises:
        UnreadableFileError: they cannot be read, or were changed since.
    """
    folder = home.root / applied.path
    try:
        store, digest = parse_calibrator_store(resolve_model_dir(home, applied.path))
    except BundleError as error:
        raise UnreadableFileError(folder, error.reason, "Restore the folder from a backup") from error
    if digest != applied.sha256:
        raise UnreadableFileError(folder, "it does not have the hash of the receipt: it was changed", "Restore it from a backup")
    return store


def is_ours(home: Home, folder: Path) -> bool:
    """Returns True if a store is one that this project wrote, whose name follows from its content."""
    return folder.parent == home.calibrators.resolve()
