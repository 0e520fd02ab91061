"""Checks that the comparison of champion and challenger is fair. Dagster concept: asset checks.

Add a check of the reports here; gates belong to `domain.decision`.
"""

import dagster as dg

from taskclf_dagster.defs.assets.reports import champion_report
from taskclf_dagster.domain.retraining.reports import ChallengerReport, ChampionReport
from taskclf_dagster.shown_text import counted, show_block

WARN = dg.AssetCheckSeverity.WARN


@dg.asset_check(
    asset=champion_report,
    additional_ins={"challenger_report": dg.AssetIn("challenger_report")},
    pool="retrain",
    description="Champion and challenger are evaluated on exactly the same windows.",
)
def scored_on_the_challengers_windows(champion_report: ChampionReport, challenger_report: ChallengerReport) -> dg.AssetCheckResult:
    """Compares the window digests of both reports."""
    ours, theirs = challenger_report.report, champion_report.report
    if champion_report.state == "none":
        return dg.AssetCheckResult(passed=True, description="There is no champion to compare with.")
    if ours is None or theirs is None:
        return dg.AssetCheckResult(passed=False, description="One of the two could not be evaluated: " + show_block(champion_report.reason))
    missing = champion_report.windows_without_features
    description = (
        f"Both are evaluated on {counted(theirs.windows, 'window')}."
        if not missing
        else f"Without the champion's features, and so excluded for both: {counted(missing, 'window')}."
    )
    metadata = {"windows": theirs.windows, "left_out": missing}
    severity = WARN if missing else dg.AssetCheckSeverity.ERROR  # windows left out for both are unusual, not unfair
    return dg.AssetCheckResult(passed=ours.rows_digest == theirs.rows_digest, severity=severity, description=description, metadata=metadata)


@dg.asset_check(
    asset=champion_report, pool="retrain", description="Advice: the champion was not trained on the windows on which it is evaluated."
)
def has_not_trained_on_them(champion_report: ChampionReport) -> dg.AssetCheckResult:
    """Reports leakage, known by the row hashes of the bundle or else by its training dates."""
    n, evidence = champion_report.windows_trained_on, champion_report.trained_on_evidence.replace("_", " ")
    description = (
        f"{n} of the test windows were training windows of the champion, judged by {evidence}." if n else f"None, judged by {evidence}."
    )
    return dg.AssetCheckResult(passed=n == 0, severity=WARN, description=description, metadata={"windows_trained_on": n})


@dg.asset_check(
    asset=champion_report, pool="retrain", description="Advice: the champion is the model that policy and pointer name, and they agree."
)
def is_what_taskclf_runs(champion_report: ChampionReport) -> dg.AssetCheckResult:
    """Reports a champion that is not the active model, and warnings."""
    fine = champion_report.state in ("ok", "none") and not champion_report.warnings
    description = "\n".join([f"{champion_report.state}: {champion_report.reason}", *champion_report.warnings])
    return dg.AssetCheckResult(passed=fine, severity=WARN, description=description, metadata={"source": champion_report.source})


REPORT_CHECKS = [scored_on_the_challengers_windows, has_not_trained_on_them, is_what_taskclf_runs]
