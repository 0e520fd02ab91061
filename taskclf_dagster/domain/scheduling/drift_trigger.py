"""Drift reports as triggers: each triggers one retrain, unless a challenger was trained since.

Reads the reports that taskclf's monitoring writes (artifacts/drift_report.json, artifacts/drift/*.json).
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

from taskclf_dagster.domain.decision.last_decided import LastDecided
from taskclf_dagster.domain.scheduling.skip_reasons import SkipReason
from taskclf_dagster.domain.storage.json_files import look_at_json
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster.shown_text import counted

MAX_REASON_LENGTH = 400


MAX_REPORT_BYTES = 16 * 1024 * 1024


class DriftTrigger(Record):
    """A drift report that triggers a retrain.

    Attributes:
        key: 16 hex digits of the hash of its content.
        path: the file, relative to the home.
        at: the time that it states, which may be in the future.
        reason: a summary of its alerts.
    """

    key: str
    path: str
    at: datetime
    reason: str


class _DriftReport(NamedTuple):
    """A drift report: its file with SHA-256, the latest time that it states, its alerts, and all of its contents."""

    path: Path
    digest: str
    at: datetime
    alerts: list[Mapping[str, object]]
    document: Mapping[str, object]

    @property
    def critical(self) -> list[Mapping[str, object]]:
        return [alert for alert in self.alerts if alert.get("severity") == "critical"]

    @property
    def is_critical(self) -> bool:
        return self.document.get("any_critical") is True or bool(self.critical)


def find_drift_trigger(home: Home, *, severity: Literal["critical", "warning"], now: datetime) -> DriftTrigger | None:
    """Returns the newest drift report if it has an alert of at least this severity, else None.

    The newest is the one that states the latest time, whatever the time of its file. One of the future, written while the clock was ahead,
    counts as older than all others. If it is the only one, it triggers one retrain: that run answers it, as no challenger was trained after
    its time.

    Raises:
        UnreadableFileError: a report cannot be read or states no time, so that it may be the newest, and no other triggers a retrain.
    """
    reports, unreadable = _read_reports(home)
    newest = max(reports, key=lambda report: (report.at <= now, report.at, report.path.name), default=None)
    if newest is not None and (newest.is_critical if severity == "critical" else newest.is_critical or newest.alerts):
        name = str(newest.path.relative_to(home.root))
        ahead = "" if newest.at <= now else f", which is in the future (it is {now:%Y-%m-%d %H:%M %Z})"
        reason = f"drift report {name} of {newest.at:%Y-%m-%d %H:%M %Z}{ahead}: {_describe(newest)}"
        return DriftTrigger(key=newest.digest[:16], path=name, at=newest.at, reason=reason[:MAX_REASON_LENGTH])
    if unreadable:
        raise unreadable[0]
    return None


def find_drift_answer(trigger: DriftTrigger, last: LastDecided | None) -> SkipReason | None:
    """Returns the reason why a report no longer triggers a retrain: a challenger was trained after it; None if it still does."""
    if last is None or last.trained_at is None or last.trained_at <= trigger.at:
        return None
    message = f"a challenger was trained on {last.trained_at:%Y-%m-%d %H:%M %Z}, after {trigger.path} of {trigger.at:%Y-%m-%d %H:%M %Z}"
    return SkipReason(kind="answered", message=message)


def _read_reports(home: Home) -> tuple[list[_DriftReport], list[UnreadableFileError]]:
    """Reads every drift report; hidden files, which file managers and editors write, are none."""
    found = [home.drift_report, *(sorted(home.drift_reports.glob("*.json")) if home.drift_reports.is_dir() else [])]
    reports, unreadable = list[_DriftReport](), list[UnreadableFileError]()
    for path in (path for path in found if path.is_file() and not path.name.startswith(".")):
        file = look_at_json(path, max_bytes=MAX_REPORT_BYTES)
        alerts = [alert for alert in _list((file.document or {}).get("alerts")) if isinstance(alert, Mapping)]
        at = None if file.document is None else _made_at(file.document, alerts)
        if file.error is not None:
            unreadable.append(file.error)
        elif file.document is not None and at is None:
            unreadable.append(UnreadableFileError(path, "it states no time", "Remove it, or let taskclf write it again"))
        elif file.document is not None and file.digest is not None and at is not None:
            reports.append(_DriftReport(path, file.digest, at, alerts, file.document))
    return reports, unreadable


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


def _describe(report: _DriftReport) -> str:
    triggers = sorted({str(alert.get("trigger")) for alert in report.alerts})
    alerts = f"{counted(len(report.alerts), 'alert')}, {len(report.critical)} critical ({', '.join(triggers)})"
    summary = report.document.get("summary")
    return f"{alerts}. {summary}" if isinstance(summary, str) and summary else alerts


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
