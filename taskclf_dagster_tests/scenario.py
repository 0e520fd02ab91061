"""Small named inputs for the tests: windows, label spans, homes and settings, built by functions rather than by fixtures.

Everything is written as taskclf writes it: real parquet files in a real home. A day starts as a valid frame of `windows_frame`; a test
changes the one thing it is about. Nothing here is random except `learnable_home`, which has a seed.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from taskclf_dagster.config.loading import load_retrain_config
from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.feature_schema import LABELS, SCHEMAS, ColumnType, SchemaVersion
from taskclf_dagster.domain.data.label_store import is_gold
from taskclf_dagster.home import Home

MONDAY = date(2026, 1, 5)
"""Day 0 of every test that names clock times; see `at`."""

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)

AS_OF = datetime(2026, 2, 4, tzinfo=UTC)
"""The end of a `learnable_home`: midnight after its last day."""

LEARNABLE_SESSIONS = (9, 14)
"""Hours (UTC) at which a session of a learnable day begins."""

LEARNABLE_BLOCK_MINUTES = 10
LEARNABLE_DAY_WINDOWS = len(LEARNABLE_SESSIONS) * len(LABELS) * LEARNABLE_BLOCK_MINUTES
"""Labelled windows of one user on one learnable day: every label for ten minutes in each session."""

_ARROW: dict[ColumnType, pa.DataType] = {
    "str": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "list": pa.list_(pa.string()),
}
_DEFAULTS: dict[ColumnType, object] = {"str": "some-text", "int": 1, "float": 0.5, "bool": False}


# --- Times and homes ------------------------------------------------------------------------------------------------------------


def at(clock: str, *, day: int = 0) -> datetime:
    """A time of MONDAY (UTC), or of a later day: `at("09:30")`, `at("09:30:20", day=3)`."""
    return datetime.combine(MONDAY, time.fromisoformat(clock), UTC) + day * DAY


def make_home(tmp_path: Path) -> Home:
    """A home below tmp_path without windows, labels and models."""
    home = Home(tmp_path / "home")
    home.processed.mkdir(parents=True, exist_ok=True)
    return home


def flip_bytes(path: Path, *, times: int = 120) -> Iterator[int]:
    """Damages a file in one byte after another, spread over its length, and mends it in the end; gives the position each time."""
    whole = path.read_bytes()
    for position in np.linspace(0, len(whole) - 1, times).astype(int):
        damaged = bytearray(whole)
        damaged[position] ^= 0x40
        path.write_bytes(bytes(damaged))
        yield int(position)
    path.write_bytes(whole)


def retrain_config(**overrides: object) -> RetrainConfig:
    """The shipped configuration with some keys replaced, validated; a nested mapping replaces only the keys it names.

    There is no search unless a test asks for one: its fits would be most of what most tests do.
    """
    return _shipped_config().with_changes(**{"search": "off", **overrides})


@cache
def _shipped_config() -> RetrainConfig:
    return load_retrain_config()


# --- Windows --------------------------------------------------------------------------------------------------------------------


def windows_frame(
    *,
    user: str = "alice",
    start: datetime | None = None,
    n: int = 5,
    app: str = "com.apple.Terminal",
    session: str = "session-1",
    version: SchemaVersion = "v1",
    **overrides: object,
) -> pd.DataFrame:
    """Consecutive valid windows with every column of the schema, in the schema's order (47, 46 or 308 columns).

    Args:
        user: left out in v2, which has no user_id.
        start: start of the first window; 09:00 of MONDAY by default.
        n: number of windows, one a minute.
        app: app_id of all of them.
        session: session_id of all of them.
        version: the schema version.
        overrides: columns by name, each one value or one value a row; a column that the schema does not have is added at the end.
    """
    schema = SCHEMAS[version]
    starts = pd.date_range(start or at("09:00"), periods=n, freq="min").as_unit("us")
    special: dict[str, object] = {
        "user_id": user,
        "device_id": [None] * n,
        "session_id": session,
        "bucket_start_ts": starts,
        "bucket_end_ts": starts + MINUTE,
        "schema_version": version,
        "schema_hash": schema.schema_hash,
        "source_ids": [["aw-watcher-window"] for _ in range(n)],
        "app_id": app,
        "app_category": "terminal",
        "domain_category": "non_browser",
        "is_terminal": True,
        "hour_of_day": starts.hour,
        "day_of_week": starts.day_of_week,
    }
    columns = {name: special.get(name, _DEFAULTS.get(kind)) for name, kind in schema.columns.items()}
    return pd.DataFrame({**columns, **overrides}, index=range(n))


def windows_table(
    rows: pd.DataFrame,
    *,
    unit: str = "us",
    tz: str | None = "UTC",
    text: pa.DataType | None = None,
    types: Mapping[str, pa.DataType] | None = None,
) -> pa.Table:
    """Rows as the arrow table that taskclf would write; NaN becomes null.

    Args:
        rows: as `windows_frame` gives them, or with columns missing or added.
        unit: of the timestamps: ns, us or ms.
        tz: of the timestamps; None is naive, which means UTC.
        text: the string type; pa.large_string() is what pandas 3 writes.
        types: arrow types by column, for what a file should not have.
    """
    kinds = {**_ARROW, "str": text or pa.string(), "datetime": pa.timestamp(unit, tz=tz)}
    columns = {}
    for name in rows.columns:
        kind = SCHEMAS["v3"].columns.get(name)
        values = rows[name]
        if isinstance(values.dtype, pd.DatetimeTZDtype):
            values = values.dt.tz_convert(tz)
        wanted = pa.null() if name == "device_id" and values.isna().all() else kinds.get(kind)
        wanted = (types or {}).get(name, wanted)
        columns[name] = pa.array(values.tolist() if kind == "list" or wanted == pa.null() else values, type=wanted, from_pandas=True)
    return pa.table(columns)


def day_file(home: Home, day: date, *, version: SchemaVersion = "v1") -> Path:
    """Where the windows of a day lie."""
    return home.features(version) / f"date={day.isoformat()}" / "features.parquet"


def write_day(home: Home, day: date, rows: pd.DataFrame | pa.Table, *, version: SchemaVersion = "v1", **storage: object) -> Path:
    """Writes one daily file as it is told to, right or wrong; `storage` is passed to `windows_table`."""
    path = day_file(home, day, version=version)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows if isinstance(rows, pa.Table) else windows_table(rows, **storage), path)
    return path


def write_windows(home: Home, *frames: pd.DataFrame, version: SchemaVersion = "v1", **storage: object) -> list[Path]:
    """Writes windows of any number of days and users, each day to its own file, in the order given."""
    rows = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    days = rows["bucket_start_ts"].dt.date
    return [write_day(home, day, rows[days == day], version=version, **storage) for day in sorted(days.unique())]


# --- Labels ---------------------------------------------------------------------------------------------------------------------


def span(
    start: datetime,
    end: datetime,
    label: str,
    *,
    user: str | None = "alice",
    provenance: str = "manual",
    confidence: float | None = None,
    extend_forward: bool = False,
) -> dict[str, object]:
    """One label span as the label store keeps it; user None applies to everyone."""
    return {
        "start_ts": start,
        "end_ts": end,
        "label": label,
        "provenance": provenance,
        "user_id": user,
        "confidence": confidence,
        "extend_forward": extend_forward,
    }


def weak(start: datetime, end: datetime, label: str, *, user: str | None = "alice", extend_forward: bool = False) -> dict[str, object]:
    """A span that a rule gave, not a person."""
    return span(start, end, label, user=user, provenance="weak:app_id:com.apple.Notes", extend_forward=extend_forward)


def labels_table(
    spans: Iterable[Mapping[str, object]],
    *,
    unit: str = "us",
    tz: str | None = "UTC",
    without: Iterable[str] = (),
    types: Mapping[str, pa.DataType] | None = None,
) -> pa.Table:
    """Spans as the arrow table that taskclf would write: columns that hold nothing but null have the type null.

    Args:
        spans: from `span` and `weak`.
        unit: of the timestamps: ns, us or ms.
        tz: of the timestamps; None is naive, which means UTC.
        without: columns to leave out.
        types: arrow types by column, for what a file should not have.
    """
    rows = list(spans)
    moment = pa.timestamp(unit, tz=tz)
    kinds = {"start_ts": moment, "end_ts": moment, "label": pa.string(), "provenance": pa.string(), "user_id": pa.string()}
    kinds |= {"confidence": pa.float64(), "extend_forward": pa.bool_()}
    columns = {}
    for name, kind in kinds.items():
        if name in without:
            continue
        values = [row[name] for row in rows]
        if rows and name in ("user_id", "confidence") and all(value is None for value in values):
            kind = pa.null()
        if kind == moment and tz is None:
            values = [None if value is None else value.replace(tzinfo=None) for value in values]
        columns[name] = pa.array(values, type=(types or {}).get(name, kind))
    return pa.table(columns)


def write_labels(home: Home, spans: Iterable[Mapping[str, object]] | pa.Table, **storage: object) -> Path:
    """Writes the label store; `storage` is passed to `labels_table`."""
    home.labels.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(spans if isinstance(spans, pa.Table) else labels_table(spans, **storage), home.labels)
    return home.labels


def spans_frame(spans: Iterable[Mapping[str, object]]) -> pd.DataFrame:
    """Spans as `LabelReading.spans` holds them, without a detour over a file."""
    rows = pd.DataFrame(list(spans), columns=list(span(AS_OF, AS_OF, "Build")))
    return pd.DataFrame(
        {
            "start_us": _epoch_us(rows["start_ts"]),
            "end_us": _epoch_us(rows["end_ts"]),
            "label": pd.Series([LABELS.index(label) for label in rows["label"]], dtype="int8"),
            "gold": is_gold(rows["provenance"]).astype(bool),
            "provenance": rows["provenance"],
            "user_id": rows["user_id"],
            "extend_forward": rows["extend_forward"].astype(bool),
        }
    )


def _epoch_us(moments: pd.Series) -> pd.Series:
    return pd.Series([(moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) for moment in moments], dtype="int64")


# --- Drift reports --------------------------------------------------------------------------------------------------------------


def a_drift_report(made: datetime, *, warnings: int = 0, critical: int = 0) -> dict[str, Any]:
    """A drift report as taskclf writes it, with so many alerts, made at that time."""
    moment = made.isoformat().replace("+00:00", "Z")
    feature = {"feature": "app_change_count", "psi": 0.005541, "ks_statistic": 0.035714, "ks_p_value": 0.02752}
    about = {"affected_user_ids": [], "affected_features": ["app_change_count"], "timestamp": moment}
    alerts = [{"trigger": "feature_ks", "details": feature, "severity": "warning", **about} for _ in range(warnings)]
    rates = {"ref_rate": 0.05, "cur_rate": 0.2, "increase": 0.15}
    alerts += [{"trigger": "reject_rate_increase", "details": rates, "severity": "critical", **about} for _ in range(critical)]
    return {
        "alerts": alerts,
        "feature_report": {"results": [{**feature, "is_drifted": True}], "flagged_features": ["app_change_count"], "timestamp": moment},
        "reject_rate_drift": {**rates, "is_flagged": critical > 0},
        "entropy_drift": {"ref_mean_entropy": 0.094952, "cur_mean_entropy": 0.104946, "ratio": 1.1053, "is_flagged": False},
        "class_shift": {
            "ref_dist": {"Build": 1.0},
            "cur_dist": {"Build": 1.0},
            "max_shift": 0.0,
            "shifted_classes": [],
            "is_flagged": False,
        },
        "telemetry_snapshot": {"timestamp": (made + timedelta(seconds=2)).isoformat(), "total_windows": 3360},
        "summary": f"{len(alerts)} alert(s) raised. Drifted features: app_change_count.",
        "any_critical": critical > 0,
    }


# --- A home that a small model can learn ----------------------------------------------------------------------------------------

# What a label looks like. Labels share apps, so that a table "label of the app" does worse than a model; Meet is mostly without input,
# so that the rule baseline takes part of it for a break.
_PROFILES: dict[str, dict[str, object]] = {
    #              app, category, domain; medians of keys, shortcuts, clicks, scrolls, mouse distance a minute, active seconds, idle run
    "BreakIdle": {"app": ("com.apple.loginwindow", "lockscreen", "non_browser"), "rates": (0, 0, 0, 0, 0, 0, 58)},
    "Build": {"app": ("com.microsoft.VSCode", "editor", "non_browser"), "rates": (90, 4, 6, 4, 300, 52, 5)},
    "Debug": {"app": ("com.microsoft.VSCode", "editor", "non_browser"), "rates": (30, 9, 22, 16, 900, 44, 10)},
    "Write": {"app": ("com.microsoft.VSCode", "editor", "non_browser"), "rates": (160, 1, 2, 2, 120, 57, 3)},
    "ReadResearch": {"app": ("com.google.Chrome", "browser", "search"), "rates": (3, 0.2, 7, 30, 500, 26, 25)},
    "Review": {"app": ("com.google.Chrome", "browser", "search"), "rates": (6, 2, 30, 24, 1500, 40, 12)},
    "Communicate": {"app": ("us.zoom.xos", "chat", "non_browser"), "rates": (55, 0.5, 9, 6, 400, 45, 9)},
    "Meet": {"app": ("us.zoom.xos", "chat", "non_browser"), "rates": (2, 0.1, 2, 1, 60, 8, 49)},
}
_RATES = (
    "keys_per_min",
    "shortcut_rate",
    "clicks_per_min",
    "scroll_events_per_min",
    "mouse_distance",
    "active_seconds_any",
    "max_idle_run_seconds",
)


def learnable_home(
    tmp_path: Path, *, users: int = 2, days: int = 10, version: SchemaVersion = "v1", confusion: float = 0.15, seed: int = 1
) -> Home:
    """A home whose eight labels a small model can tell apart, ending at AS_OF: `users * days * LEARNABLE_DAY_WINDOWS` windows.

    Args:
        tmp_path: the home is made below it.
        users: number of people; every window of theirs is labelled by hand.
        days: full days before AS_OF.
        version: the schema version; v2 is for one user.
        confusion: share of the windows outside breaks that look like another label, so that a model has something to reject
            [0 to 1]; at 0 the labels are trivially separable, at 0.8 there is next to nothing to learn.
        seed: another seed draws other values; a day of a user depends on nothing else.
    """
    home = make_home(tmp_path)
    add_learnable_days(home, first=AS_OF - days * DAY, users=users, days=days, version=version, confusion=confusion, seed=seed)
    return home


def add_learnable_days(
    home: Home,
    *,
    first: datetime = AS_OF,
    users: int = 2,
    days: int = 1,
    version: SchemaVersion = "v1",
    confusion: float = 0.15,
    seed: int = 1,
) -> None:
    """Adds further days to a learnable home, by default those after AS_OF; see `learnable_home`."""
    spans = pq.read_table(home.labels).to_pylist() if home.labels.exists() else []
    for number in range(days):
        moment = first + number * DAY
        frames = []
        for person in range(users):
            rng = np.random.default_rng([seed, person, moment.toordinal()])
            rows, labelled = _learnable_day(f"user-{person}", moment, version, confusion, rng)
            frames.append(rows)
            spans += labelled
        write_windows(home, *frames, version=version)
    write_labels(home, spans)


def _learnable_day(
    user: str, day: datetime, version: SchemaVersion, confusion: float, rng: np.random.Generator
) -> tuple[pd.DataFrame, list[dict[str, object]]]:
    owner = None if version == "v2" else user
    frames, spans = [], []
    for hour in LEARNABLE_SESSIONS:
        begin = day + timedelta(hours=hour)
        order = [LABELS[i] for i in rng.permutation(len(LABELS))]
        labels = np.repeat(order, LEARNABLE_BLOCK_MINUTES)
        block = timedelta(minutes=LEARNABLE_BLOCK_MINUTES)
        spans += [span(begin + i * block, begin + (i + 1) * block, label, user=owner) for i, label in enumerate(order)]
        frames.append(_learnable_session(user, begin, labels, version, confusion, rng))
    return pd.concat(frames, ignore_index=True), spans


def _learnable_session(
    user: str, begin: datetime, labels: np.ndarray, version: SchemaVersion, confusion: float, rng: np.random.Generator
) -> pd.DataFrame:
    seen = np.where((rng.random(len(labels)) < confusion) & (labels != "BreakIdle"), rng.choice(LABELS[1:], len(labels)), labels)
    apps = np.array([_PROFILES[label]["app"] for label in seen])
    medians = np.array([_PROFILES[label]["rates"] for label in seen], dtype=float)
    rates = medians * rng.lognormal(0.0, 0.25, medians.shape)
    rates[:, -2:] = np.minimum(rates[:, -2:], 60.0)
    values = dict(zip(_RATES, rates.T, strict=True))
    return windows_frame(
        user=user,
        start=begin,
        n=len(labels),
        session=f"{user}-{begin:%m%d%H}",
        version=version,
        app_id=apps[:, 0],
        app_category=apps[:, 1],
        domain_category=apps[:, 2],
        is_terminal=False,
        is_editor=apps[:, 1] == "editor",
        is_browser=apps[:, 1] == "browser",
        session_length_so_far=np.arange(len(labels), dtype=float),
        **values,
    )


def copy_of(home: Home, folder: Path) -> Home:
    """A copy of a home, for a test that writes into it."""
    shutil.copytree(home.root, folder / "home")
    return Home(folder / "home")
