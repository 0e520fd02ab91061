"""Checks of the calibrators, which can be executed at any time. Dagster concept: asset checks.

What is wrong is found in `domain.monitoring.calibration_checks`.
"""

import dagster as dg

from taskclf_dagster.defs.assets.calibration import calibrator_store
from taskclf_dagster.defs.resources.inputs import HomeResource, RunSettingsResource
from taskclf_dagster.domain.monitoring.calibration import Calibration
from taskclf_dagster.domain.monitoring.calibration_checks import find_unbound, find_uncovered, find_unearned, read_fitted
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.shown_text import counted, show_block

WARN, ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR


@dg.asset_check(
    asset=calibrator_store,
    pool="retrain",
    description="Each calibrator improved the Brier score of later windows by min_brier_gain (5 %); every other one is identity.",
)
def improves_brier_or_stays_identity(
    calibrator_store: Calibration, home: HomeResource, run_settings: RunSettingsResource
) -> dg.AssetCheckResult:
    """Compares the stored calibrators with the scores of the record."""
    taskclf_home = home.open()
    gain = run_settings.load_config(taskclf_home).calibrating.calibration.min_brier_gain
    problems = find_unearned(calibrator_store, read_fitted(taskclf_home, calibrator_store), min_brier_gain=gain)
    return _result(problems, f"{counted(len(calibrator_store.fits), 'calibrator')}: {calibrator_store.reason}", ERROR)


@dg.asset_check(
    asset=calibrator_store, pool="retrain", description="The inference policy names these calibrators, and they are of the active model."
)
def fitted_for_the_active_model(calibrator_store: Calibration, home: HomeResource) -> dg.AssetCheckResult:
    """Reads the policy and the store that it names."""
    problems = find_unbound(read_registry_state(home.open()), calibrator_store)
    return _result(problems, f"They are those of {calibrator_store.model_id}, by record {calibrator_store.sequence}.", WARN)


@dg.asset_check(asset=calibrator_store, pool="retrain", description="Advice: every user with enough labels has a calibrator of their own.")
def covers_the_users(calibrator_store: Calibration, home: HomeResource) -> dg.AssetCheckResult:
    """Compares the users of the record with the files of the store."""
    problems = find_uncovered(calibrator_store, read_fitted(home.open(), calibrator_store).store)
    return _result(problems, f"Of their own: {', '.join(calibrator_store.users) or 'nobody'}; all others have that of everyone.", WARN)


def _result(problems: list[str], otherwise: str, severity: dg.AssetCheckSeverity) -> dg.AssetCheckResult:
    description = show_block("\n".join(problems) or otherwise)
    return dg.AssetCheckResult(passed=not problems, severity=severity, description=description, metadata={"findings": len(problems)})


CALIBRATION_CHECKS = [improves_brier_or_stays_identity, fitted_for_the_active_model, covers_the_users]
