"""The report of a drift check, and the same in taskclf's format (drift_report.json), which `scheduling.drift_trigger` reads."""

from collections.abc import Iterator
from datetime import UTC
from typing import Literal

from pydantic import AwareDatetime

from taskclf_dagster.domain.monitoring.drift_inputs import CategoryDrift, InputDrift
from taskclf_dagster.domain.monitoring.drift_predictions import PredictionDrift
from taskclf_dagster.domain.monitoring.drift_stretches import DriftedStretch
from taskclf_dagster.domain.monitoring.telemetry import TelemetrySnapshot
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.shown_text import counted

DECIMALS = 6


DriftOutcome = Literal["judged", "no_model", "no_reference", "too_few_windows"]


class DriftReport(Record):
    """The last days beside what the active model has learned from.

    Attributes:
        as_of: end of the judged time.
        days: its length.
        outcome: judged; or the reason why nothing could be judged.
        detail: that reason, or a summary, as a sentence.
        model_id: the active model; None if there is none.
        dataset_hash: of the snapshot that is the reference; None if it is not there.
        windows, reference_windows: number of windows on either side.
        reference_days: number of days of the reference that have a window.
        inputs: the numeric inputs, empty unless judged; so are the categories.
        predictions: None if the model keeps no predictions of windows that it had not learned from.
        drifted: inputs that have drifted or are dead.
        confirmed: those that confirm the drift on two days in a row; empty if it is not confirmed.
        confirmed_at: time of the evaluation that confirmed the drift that lasts; None if none is confirmed.
        stretches: unlabeled time that differs most.
        telemetry: of all judged windows; None without windows or a model.
    """

    as_of: AwareDatetime
    days: int
    outcome: DriftOutcome
    detail: str
    model_id: str | None = None
    dataset_hash: str | None = None
    windows: int = 0
    reference_windows: int = 0
    reference_days: int = 0
    inputs: tuple[InputDrift, ...] = ()
    categories: tuple[CategoryDrift, ...] = ()
    predictions: PredictionDrift | None = None
    drifted: tuple[str, ...] = ()
    confirmed: tuple[str, ...] = ()
    confirmed_at: AwareDatetime | None = None
    stretches: tuple[DriftedStretch, ...] = ()
    telemetry: TelemetrySnapshot | None = None

    @property
    def is_newly_confirmed(self) -> bool:
        """True if this evaluation confirmed the drift, so that it requests a retrain."""
        return self.confirmed_at is not None and self.confirmed_at == self.as_of

    @property
    def alerts(self) -> list[dict[str, object]]:
        """The alerts in taskclf's format; critical are those of the inputs with which this evaluation confirmed a drift."""
        return list(_list_alerts(self))

    @property
    def summary(self) -> str:
        """The report in one or two sentences."""
        if self.outcome != "judged":
            return self.detail
        if not self.alerts:
            return "No drift detected."
        named = f" Drifted features: {', '.join(self.drifted)}." if self.drifted else ""
        return f"{counted(len(self.alerts), 'alert')} raised.{named} {self.detail}"


def to_taskclf(report: DriftReport) -> dict[str, object]:
    """Returns drift_report.json: the keys of taskclf, affected users and inputs filled in, further keys beside them."""
    alerts, moment = report.alerts, _moment(report)
    found = report.predictions
    results = [
        {
            "feature": each.name,
            "psi": _round(each.psi),
            "ks_statistic": _round(each.ks_statistic),
            "ks_p_value": _round(each.ks_p_value),
            "is_drifted": each.has_drifted or each.is_dead,
            "psi_threshold": _round(each.threshold),
            "missing_reference": _round(each.missing_reference),
            "missing_current": _round(each.missing_current),
        }
        for each in report.inputs
    ]
    return {
        "alerts": alerts,
        "feature_report": {"results": results, "flagged_features": list(report.drifted), "timestamp": moment},
        "reject_rate_drift": None
        if found is None
        else {
            "ref_rate": _round(found.reject_rate.reference),
            "cur_rate": _round(found.reject_rate.current),
            "increase": _round(found.reject_rate.increase),
            "is_flagged": found.reject_rate.is_flagged,
        },
        "entropy_drift": None
        if found is None
        else {
            "ref_mean_entropy": _round(found.entropy.reference),
            "cur_mean_entropy": _round(found.entropy.current),
            "ratio": _round(found.entropy.ratio),
            "is_flagged": found.entropy.is_flagged,
        },
        "class_shift": None
        if found is None
        else {
            "ref_dist": {name: _round(share) for name, share in found.class_shift.reference.items()},
            "cur_dist": {name: _round(share) for name, share in found.class_shift.current.items()},
            "max_shift": _round(found.class_shift.max_shift),
            "shifted_classes": list(found.class_shift.shifted_classes),
            "is_flagged": found.class_shift.is_flagged,
        },
        "telemetry_snapshot": None if report.telemetry is None else report.telemetry.model_dump(mode="json"),
        "summary": report.summary,
        "any_critical": any(alert["severity"] == "critical" for alert in alerts),
        "timestamp": moment,
        "model_id": report.model_id,
        "dataset_hash": report.dataset_hash,
        "confirmed_features": list(report.confirmed),
        "confirmed_at": None if report.confirmed_at is None else report.confirmed_at.astimezone(UTC).isoformat(),
    }


def _list_alerts(report: DriftReport) -> Iterator[dict[str, object]]:
    """Yields an alert for each input, category and figure that is flagged.

    taskclf has no trigger for missing values and unseen categories: theirs is feature_psi, and details.kind says which it is.
    """
    critical = {*report.confirmed} if report.is_newly_confirmed else set[str]()
    for each in report.inputs:
        if each.has_drifted or each.is_dead:
            kind = "constant" if each.is_constant else "missing" if each.is_dead else "psi"
            details: dict[str, object] = {
                "kind": kind,
                "feature": each.name,
                "psi": _round(each.psi),
                "psi_threshold": _round(each.threshold),
                "ks_statistic": _round(each.ks_statistic),
                "ks_p_value": _round(each.ks_p_value),
                "missing_reference": _round(each.missing_reference),
                "missing_current": _round(each.missing_current),
            }
            yield _alert(report, "feature_psi", details, each.users, [each.name], critical=each.name in critical)
    for category in report.categories:
        if category.is_flagged:
            values = {"unseen_reference": _round(category.unseen_reference), "unseen_current": _round(category.unseen_current)}
            yield _alert(report, "feature_psi", {"kind": "unseen", "feature": category.name, **values}, category.users, [category.name])
    found = report.predictions
    if found is not None and found.reject_rate.is_flagged:
        rates = {"ref_rate": _round(found.reject_rate.reference), "cur_rate": _round(found.reject_rate.current)}
        details = {**rates, "increase": _round(found.reject_rate.increase)}
        yield _alert(report, "reject_rate_increase", details, found.reject_rate.users, [])
    if found is not None and found.entropy.is_flagged:
        means = {"ref_mean_entropy": _round(found.entropy.reference), "cur_mean_entropy": _round(found.entropy.current)}
        yield _alert(report, "entropy_spike", {**means, "ratio": _round(found.entropy.ratio)}, found.entropy.users, [])
    if found is not None and found.class_shift.is_flagged:
        shift: dict[str, object] = {
            "max_shift": _round(found.class_shift.max_shift),
            "shifted_classes": list(found.class_shift.shifted_classes),
        }
        yield _alert(report, "class_shift", shift, found.class_shift.users, [])


def _alert(
    report: DriftReport, trigger: str, details: dict[str, object], users: tuple[str, ...], inputs: list[str], *, critical: bool = False
) -> dict[str, object]:
    return {
        "trigger": trigger,
        "details": details,
        "severity": "critical" if critical else "warning",
        "affected_user_ids": list(users),
        "affected_features": inputs,
        "timestamp": _moment(report),
    }


def _moment(report: DriftReport) -> str:
    return report.as_of.astimezone(UTC).isoformat()


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, DECIMALS)
