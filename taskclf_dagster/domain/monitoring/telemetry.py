"""Telemetry of the active model in taskclf's format: one line a day in `artifacts/telemetry/telemetry_global.jsonl`.

Lines are only ever appended (O_APPEND), and the file is never written again. No user is part of a file name.
"""

import json
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

import numpy as np

from taskclf_dagster.domain.data.feature_schema import WINDOW_SECONDS, FeatureSchema
from taskclf_dagster.domain.data.times import DAY_US, epoch_us, show_epoch_us
from taskclf_dagster.domain.monitoring.drift_inputs import list_watched_inputs
from taskclf_dagster.domain.monitoring.drift_predictions import PredictedSet, shares_of
from taskclf_dagster.domain.storage.files import make_folders
from taskclf_dagster.domain.storage.filesystem import LOCK_TIMEOUT_SECONDS, file_system
from taskclf_dagster.domain.storage.folder_lock import lock_folder
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.home import Home

DECIMALS = 6


class ConfidenceStats(Record):
    """Statistics of the largest probability [0 to 1]."""

    mean: float
    median: float
    p5: float
    p95: float
    std: float


class TelemetrySnapshot(Record):
    """Windows of some time and their predictions, with the keys of taskclf.

    Attributes:
        timestamp: the as-of time.
        user_id: None for all users.
        window_start, window_end: of the first and the last window.
        feature_missingness: share of windows without a value [0 to 1] by numeric input.
        reject_rate: share of rejected windows [0 to 1].
        mean_entropy: of the predictions [nats].
        class_distribution: share of each label and of Mixed/Unknown [0 to 1].
        suggestions_per_day: always 0, as taskclf writes it.
    """

    timestamp: str
    user_id: None = None
    window_start: str
    window_end: str
    total_windows: int
    feature_missingness: dict[str, float]
    confidence_stats: ConfidenceStats
    reject_rate: float
    mean_entropy: float
    class_distribution: dict[str, float]
    schema_version: str
    suggestions_per_day: int = 0


def describe_windows(
    predicted: PredictedSet, schema: FeatureSchema, *, as_of: datetime, chosen: np.ndarray | None = None
) -> TelemetrySnapshot:
    """Returns the telemetry of windows, of all or of the chosen ones, of which there must be one."""
    chosen = np.ones(len(predicted.windows), dtype=bool) if chosen is None else chosen
    rows, confidence = predicted.windows.rows[chosen], predicted.confidence[chosen]
    starts = epoch_us(rows["bucket_start_ts"])
    low, median, high = np.quantile(confidence, [0.05, 0.5, 0.95])
    stats = {"mean": confidence.mean(), "median": median, "p5": low, "p95": high, "std": confidence.std()}
    shares = {name: _round(share) for name, share in shares_of(predicted.count_outcomes(chosen)).items()}
    return TelemetrySnapshot(
        timestamp=as_of.astimezone(UTC).isoformat(),
        window_start=show_epoch_us(int(starts.min())),
        window_end=show_epoch_us(int(starts.max()) + WINDOW_SECONDS * 1_000_000),
        total_windows=len(rows),
        feature_missingness={name: _round(rows[name].isna().mean()) for name in list_watched_inputs(schema)},
        confidence_stats=ConfidenceStats(**{name: _round(value) for name, value in stats.items()}),
        reject_rate=shares.get("Mixed/Unknown", 0.0),
        mean_entropy=_round(predicted.entropy[chosen].mean()),
        class_distribution=shares,
        schema_version=f"features_{schema.version}",
    )


def describe_days(predicted: PredictedSet, schema: FeatureSchema, *, as_of: datetime) -> list[TelemetrySnapshot]:
    """Returns the telemetry of each UTC day that has windows and has ended, the oldest first."""
    found = []
    for position, number in enumerate(predicted.windows.dates.tolist()):
        end = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=(number + 1) * DAY_US)
        if end <= as_of:
            found.append(describe_windows(predicted, schema, as_of=as_of, chosen=predicted.windows.day == position))
    return found


def append_telemetry(home: Home, snapshots: Iterable[TelemetrySnapshot]) -> list[date]:
    """Appends a line for each day that has none for all users yet; a line that was torn off by a crash stays on a line of its own.

    Returns:
        The days whose lines were appended.

    Raises:
        OSError: the file cannot be written.
    """
    path = home.telemetry
    make_folders(path.parent)
    with lock_folder(path.parent, timeout=LOCK_TIMEOUT_SECONDS):
        content = path.read_bytes() if path.exists() else b""
        there = {day for line in content.splitlines() if (day := _day_of_line(line)) is not None}
        new = {snapshot.window_start[:10]: snapshot for snapshot in snapshots if snapshot.window_start[:10] not in there}
        if new:
            lines = b"".join(json.dumps(each.model_dump(mode="json"), separators=(",", ":")).encode() + b"\n" for each in new.values())
            file_system().append(path, lines if not content or content.endswith(b"\n") else b"\n" + lines)
            file_system().sync_file(path)
            file_system().sync_folder(path.parent)
    return [date.fromisoformat(day) for day in new]


def _day_of_line(line: bytes) -> str | None:
    """Returns the day of a line that is about one day and all users, as a daily line is; None for others and for what is no JSON."""
    try:
        entry = json.loads(line)
        first, last = (str(entry[key]) for key in ("window_start", "window_end"))
        whole = entry["user_id"] is None and datetime.fromisoformat(last) - datetime.fromisoformat(first) <= timedelta(days=1)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return first[:10] if whole else None


def _round(value: float) -> float:
    return round(float(value), DECIMALS)
