"""Metadata and checks of the asset drift_report. Dagster concept: metadata, asset checks.

Numbers are rounded for display only; what is flagged is in the report.
"""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from taskclf_dagster.defs.display.metadata import Cell, plotted, table
from taskclf_dagster.defs.display.pictures import drift_picture
from taskclf_dagster.domain.monitoring.drift_inputs import InputDrift
from taskclf_dagster.domain.monitoring.drift_report import DriftReport
from taskclf_dagster.home import Home

DRIFT_CHECKS = {
    "drift_is_not_confirmed": "No drift is confirmed by inputs on two days in a row.",
    "inputs_have_not_drifted": "No input's population stability index reaches its threshold.",
    "no_input_is_dead": "No input is missing more often than before, or has stopped changing.",
    "categories_are_known": "The share of windows with a category that the model does not know has not risen.",
    "reject_rate_has_not_risen": "The share of rejected windows is about that of the out-of-fold predictions.",
    "entropy_has_not_risen": "The model is about as sure as in its out-of-fold predictions.",
    "class_shares_are_stable": "No label is predicted much more or less often than in the out-of-fold predictions.",
}
"""Name and description of each check; all of them warn."""


def drift_metadata(home: Home, report: DriftReport) -> dict[str, Any]:
    """Returns the metadata of the asset: summary, figures that Dagster plots, tables, and a picture of the inputs."""
    found = report.predictions
    inputs = sorted(report.inputs, key=lambda each: each.threshold and -each.psi / each.threshold)
    shown: dict[str, Any] = {
        "summary": report.summary,
        "model": report.model_id or "none",
        "reference": report.dataset_hash or "none",
        "inputs": table([_input_row(each) for each in inputs]),
        "categories": table(
            [
                {"input": each.name, "unseen before": round(each.unseen_reference, 4), "unseen now": round(each.unseen_current, 4)}
                for each in report.categories
            ]
        ),
        "worth_labelling": table(
            [
                {"user": each.user_id, "from": f"{each.start:%Y-%m-%d %H:%M}", "minutes": each.minutes, "guess": each.label}
                for each in report.stretches
            ]
        ),
        "reports": dg.MetadataValue.path(str(home.drift_reports)),
        **plotted(
            windows=float(report.windows),
            drifted_inputs=float(len(report.drifted)),
            largest_psi=max((each.psi for each in inputs), default=None),
            reject_rate=None if found is None else found.reject_rate.current,
            mean_entropy=None if found is None else found.entropy.current,
            class_shift=None if found is None else found.class_shift.max_shift,
        ),
    }
    if inputs:
        shown["psi_by_input"] = drift_picture([(each.name, each.psi, each.threshold) for each in inputs])
    return shown


def drift_checks(report: DriftReport) -> list[dg.AssetCheckResult]:
    """Returns a result for each of DRIFT_CHECKS; what cannot be judged passes, and says why it is not judged."""
    drifted = [each for each in report.inputs if each.has_drifted]
    dead = [each for each in report.inputs if each.is_dead]
    unseen = [each for each in report.categories if each.is_flagged]
    confirmed = report.confirmed_at is not None
    results = [
        _check(report, "drift_is_not_confirmed", confirmed, report.detail, inputs=len(report.confirmed)),
        _check(report, "inputs_have_not_drifted", bool(drifted), _describe_drifted(drifted), inputs=len(drifted)),
        _check(report, "no_input_is_dead", bool(dead), _describe_dead(dead), inputs=len(dead)),
        _check(
            report,
            "categories_are_known",
            bool(unseen),
            "; ".join(f"{each.name}: {each.unseen_current:.1%}, was {each.unseen_reference:.1%}" for each in unseen),
            inputs=len(unseen),
        ),
    ]
    found = report.predictions
    if found is None:
        why = report.detail if report.outcome != "judged" else "The model keeps no predictions of windows that it had not learned from."
        names = ("reject_rate_has_not_risen", "entropy_has_not_risen", "class_shares_are_stable")
        return [*results, *(_not_judged(name, why) for name in names)]
    rate, entropy, shift = found.reject_rate, found.entropy, found.class_shift
    shown = f"{rate.current:.1%}, was {rate.reference:.1%}"
    ratio = f"{entropy.current:.3f} nats, was {entropy.reference:.3f}"
    changes = [f"{name} {shift.reference.get(name, 0.0):.1%} to {shift.current.get(name, 0.0):.1%}" for name in shift.shifted_classes]
    return [
        *results,
        _check(report, "reject_rate_has_not_risen", rate.is_flagged, shown, observed=rate.increase, threshold=rate.threshold),
        _check(report, "entropy_has_not_risen", entropy.is_flagged, ratio, observed=entropy.ratio, threshold=entropy.threshold),
        _check(
            report, "class_shares_are_stable", shift.is_flagged, "; ".join(changes), observed=shift.max_shift, threshold=shift.threshold
        ),
    ]


def _check(report: DriftReport, name: str, found: bool, text: str, **figures: float) -> dg.AssetCheckResult:
    if report.outcome != "judged":
        return _not_judged(name, report.detail)
    return dg.AssetCheckResult(
        passed=not found,
        check_name=name,
        severity=dg.AssetCheckSeverity.WARN,
        description=text or "None is.",
        metadata=plotted(**figures),
    )


def _not_judged(name: str, why: str) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True, check_name=name, severity=dg.AssetCheckSeverity.WARN, description=f"Not judged: {why}")


def _describe_drifted(inputs: Sequence[InputDrift]) -> str:
    return "; ".join(f"{each.name}: {each.psi:.3f}, threshold {each.threshold:.3f}, users {', '.join(each.users)}" for each in inputs)


def _describe_dead(inputs: Sequence[InputDrift]) -> str:
    return "; ".join(
        f"{each.name}: {'it has stopped changing' if each.is_constant else f'missing in {each.missing_current:.0%} of the windows'}"
        for each in inputs
    )


def _input_row(each: InputDrift) -> dict[str, Cell]:
    return {
        "input": each.name.replace("_", " "),
        "verdict": "dead" if each.is_dead else "drifted" if each.has_drifted else "",
        "psi": round(each.psi, 4),
        "threshold": round(each.threshold, 4),
        "KS": None if each.ks_statistic is None else round(each.ks_statistic, 4),
        "missing before": round(each.missing_reference, 4),
        "missing now": round(each.missing_current, 4),
    }
