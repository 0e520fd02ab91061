"""Claims about the comparison's fairness. Dagster concept: asset checks."""

import dagster as dg

from taskclf_dagster.defs.assets.reports import champion_report
from taskclf_dagster.domain.retraining.reports import ChallengerReport, ChampionReport

WARN = dg.AssetCheckSeverity.WARN


@dg.asset_check(
    asset=champion_report,
    additional_ins={"challenger_report": dg.AssetIn("challenger_report")},
    pool="retrain",
    description="Champion and challenger were scored on exactly the same windows.",
)
def scored_on_the_challengers_windows(champion_report: ChampionReport, challenger_report: ChallengerReport) -> dg.AssetCheckResult:
    """Compares the digests of the windows of both reports."""
    ours, theirs = challenger_report.report, champion_report.report
    if champion_report.state == "none":
        return dg.AssetCheckResult(passed=True, description="There is no champion to compare with.")
    if ours is None or theirs is None:
        return dg.AssetCheckResult(passed=False, description="One of the two could not be scored: " + champion_report.reason)
    missing = champion_report.windows_without_features
    words = f"{theirs.windows} windows of both." if not missing else f"{missing} windows lack the champion's features and are out for both."
    metadata = {"windows": theirs.windows, "left_out": missing}
    severity = WARN if missing else dg.AssetCheckSeverity.ERROR  # windows left out for both are unusual, not unfair
    return dg.AssetCheckResult(passed=ours.rows_digest == theirs.rows_digest, severity=severity, description=words, metadata=metadata)


@dg.asset_check(asset=champion_report, pool="retrain", description="Advice: the champion did not learn from the windows it is scored on.")
def has_not_trained_on_them(champion_report: ChampionReport) -> dg.AssetCheckResult:
    """By the row hashes of its bundle, else by its training dates."""
    n, evidence = champion_report.windows_trained_on, champion_report.trained_on_evidence.replace("_", " ")
    words = f"{n} of the test windows were training windows of the champion, judged by {evidence}." if n else f"None, judged by {evidence}."
    return dg.AssetCheckResult(passed=n == 0, severity=WARN, description=words, metadata={"windows_trained_on": n})


@dg.asset_check(asset=champion_report, pool="retrain", description="Advice: the champion is what policy and pointer name, and they agree.")
def is_what_taskclf_runs(champion_report: ChampionReport) -> dg.AssetCheckResult:
    """Anything unusual in how the champion was found."""
    fine = champion_report.state in ("ok", "none") and not champion_report.warnings
    words = "\n".join([f"{champion_report.state}: {champion_report.reason}", *champion_report.warnings])
    return dg.AssetCheckResult(passed=fine, severity=WARN, description=words, metadata={"source": champion_report.source})


REPORT_CHECKS = [scored_on_the_challengers_windows, has_not_trained_on_them, is_what_taskclf_runs]
