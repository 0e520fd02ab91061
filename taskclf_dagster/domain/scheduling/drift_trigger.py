"""Drift reports as triggers: each triggers one retrain, unless a challenger was trained since.

Reads the reports that taskclf's monitoring writes (artifacts/drift_report.json, artifacts/drift/*.json).
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from taskclf_dagster.domain.decision.last_decided import LastDecided
from taskclf_dagster.domain.scheduling.skip_reasons import SkipReason
from taskclf_dagster.domain.storage.json_files import read_json_object
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.home import Home

MAX_REASON_LENGTH = 400


MAX_REPORT_BYTES = 16 * 1024 * 1024


class DriftTrigger(Record):
    """A drift report that triggers a retrain.

    Attributes:
        key: 16 hex digits of the hash of its content.
        path: the file, relative to the home.
        at: its time.
        reason: a summary of its alerts.
    """

    key: str
    path: str
    at: datetime
    reason: str


def find_drift_trigger(home: Home, *, severity: Literal["critical", "warning"], now: datetime) -> DriftTrigger | None:
    """Returns the newest drift report if it has an alert of at least this severity, else None.

    Raises:
        UnreadableFileError: the newest report cannot be read.
    """
    newest = max(_find_reports(home), key=lambda path: (path.stat().st_mtime, path.name), default=None)
    if newest is None:
        return None
    report = read_json_object(newest, max_bytes=MAX_REPORT_BYTES)
    alerts = [alert for alert in _list(report.get("alerts")) if isinstance(alert, Mapping)]
    critical = report.get("any_critical") is True or any(alert.get("severity") == "critical" for alert in alerts)
    if not (critical if severity == "critical" else critical or alerts):
        return None
    at = min(now, _made_at(report, alerts) or datetime.fromtimestamp(newest.stat().st_mtime, UTC))
    name = str(newest.relative_to(home.root))
    return DriftTrigger(
        key=hashlib.sha256(newest.read_bytes()).hexdigest()[:16],
        path=name,
        at=at,
        reason=f"drift report {name} of {at:%Y-%m-%d %H:%M %Z}: {_describe(report, alerts)}"[:MAX_REASON_LENGTH],
    )


def find_drift_answer(trigger: DriftTrigger, last: LastDecided | None) -> SkipReason | None:
    """Returns the reason why a report no longer triggers a retrain: a challenger was trained after it; None if it still does."""
    if last is None or last.trained_at is None or last.trained_at <= trigger.at:
        return None
    message = f"a challenger was trained on {last.trained_at:%Y-%m-%d %H:%M %Z}, after {trigger.path} of {trigger.at:%Y-%m-%d %H:%M %Z}"
    return SkipReason(kind="answered", message=message)


def _find_reports(home: Home) -> list[Path]:
    found = [home.drift_report, *(home.drift_reports.glob("*.json") if home.drift_reports.is_dir() else [])]
    return [path for path in found if path.is_file()]


def _made_at(report: Mapping[str, object], alerts: list[Mapping[str, object]]) -> datetime | None:
    """Returns the latest time in the report; a time without an offset is UTC."""
    features = report.get("feature_report")
    named = [report.get("timestamp"), *([features.get("timestamp")] if isinstance(features, Mapping) else [])]
    moments = []
    for value in [*named, *(alert.get("timestamp") for alert in alerts)]:
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            continue
        moments.append(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    return max(moments, default=None)


def _describe(report: Mapping[str, object], alerts: list[Mapping[str, object]]) -> str:
    critical = sum(alert.get("severity") == "critical" for alert in alerts)
    triggers = sorted({str(alert.get("trigger")) for alert in alerts})
    counted = f"{len(alerts)} alerts, {critical} critical ({', '.join(triggers)})"
    summary = report.get("summary")
    return f"{counted}. {summary}" if isinstance(summary, str) and summary else counted


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
