"""Generates a demo home: days of invented people at work in taskclf's own files, so that the whole pipeline can be tried.

Only invention belongs here: what people do, what taskclf would have recorded of it, how they would have labelled it. What the
columns mean is in `domain.features`, where files lie in `home`; nothing here trains or judges. The idea: a day is a hidden sequence
of task blocks, and each recorded value follows from the block's task, the person, the app and noise. Each (person, day) has its own
random generator, so that a day's bytes do not depend on which other days exist.
"""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field, ValidationError

from taskclf_dagster.domain.features import DEFAULT_USER, LABELS, SCHEMA_VERSIONS, SCHEMAS, ColumnType, SchemaVersion
from taskclf_dagster.domain.files import Record, read_json_object, write_atomic, write_json
from taskclf_dagster.errors import TaskclfDagsterError, UnreadableFileError
from taskclf_dagster.home import Home

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Columns = dict[str, npt.NDArray[np.generic] | Sequence[object]]

PROVENANCE = "manual:demo"
DRIFT_DAYS = 7
"""The last days of a new home, in which a new app appears and habits shift; days added later continue like them."""
NEW_APP = "dev.zed.Zed"

_APPS = {
    "editor": ("com.microsoft.VSCode", "com.jetbrains.intellij", NEW_APP),
    "terminal": ("com.apple.Terminal", "com.googlecode.iterm2"),
    "browser": ("com.google.Chrome", "org.mozilla.firefox"),
    "chat": ("com.tinyspeck.slackmacgap",),
    "meeting": ("us.zoom.xos", "com.microsoft.teams2"),
    "email": ("com.apple.mail", "com.microsoft.Outlook"),
    "docs": ("com.apple.Notes", "com.microsoft.Word"),
    "file_manager": ("com.apple.finder",),
    "lockscreen": ("com.apple.loginwindow",),
}
_APP_IDS = np.array([app for apps in _APPS.values() for app in apps], dtype=object)
_CATEGORIES = np.array([category for category, apps in _APPS.items() for _ in apps], dtype=object)
_SLOT = np.repeat(np.arange(len(_APPS)), [len(apps) for apps in _APPS.values()])
_NEW, _LOCK = 2, len(_APP_IDS) - 1
_DOMAINS = np.array(["code_hosting", "docs", "search", "productivity", "email_web", "video", "non_browser"], dtype=object)
_BREAK, _BUILD, _COMMUNICATE, _DEBUG, _MEET, _READ, _REVIEW, _WRITE = range(len(LABELS))
_AWAY = -1
_ODDS = len(LABELS)  # odds and ends: what people do for some minutes in the midst of any task
_ODDS_CHANCE, _ODDS_MINUTES = 0.048, 3
_MINUTE_NOISE, _BLOCK_NOISE = 0.32, 0.06  # spread of the logarithm of the rates
_TITLES_PER_APP = 12
_SESSION_GAP = 5  # minutes without a window, after which a new session begins

# Habits of a task, one row or entry a label in the order of LABELS. They overlap: no single column may give a label away.
_MIX = np.array(
    [  # share of minutes in each category of _APPS                       | share of browser minutes in each of _DOMAINS
        [0.15, 0.02, 0.40, 0.20, 0.03, 0.10, 0.10, 0.00, 0.00, 0.05, 0.08, 0.15, 0.12, 0.15, 0.45],
        [0.58, 0.18, 0.14, 0.03, 0.00, 0.01, 0.03, 0.03, 0.00, 0.27, 0.36, 0.24, 0.06, 0.03, 0.04],
        [0.03, 0.01, 0.14, 0.40, 0.06, 0.30, 0.06, 0.00, 0.00, 0.07, 0.07, 0.08, 0.28, 0.47, 0.03],
        [0.34, 0.34, 0.22, 0.04, 0.00, 0.01, 0.03, 0.02, 0.00, 0.25, 0.31, 0.35, 0.05, 0.02, 0.02],
        [0.05, 0.01, 0.17, 0.09, 0.59, 0.03, 0.06, 0.00, 0.00, 0.08, 0.14, 0.06, 0.32, 0.06, 0.34],
        [0.06, 0.02, 0.58, 0.05, 0.02, 0.05, 0.19, 0.03, 0.00, 0.10, 0.36, 0.34, 0.07, 0.04, 0.09],
        [0.28, 0.05, 0.50, 0.08, 0.01, 0.02, 0.06, 0.00, 0.00, 0.56, 0.18, 0.08, 0.13, 0.03, 0.02],
        [0.15, 0.01, 0.22, 0.05, 0.00, 0.08, 0.47, 0.02, 0.00, 0.08, 0.19, 0.17, 0.50, 0.04, 0.02],
        [0.20, 0.08, 0.32, 0.11, 0.04, 0.06, 0.12, 0.07, 0.00, 0.18, 0.20, 0.18, 0.18, 0.14, 0.12],
    ]
)
_DOMAIN_MIX = _MIX[:, len(_APPS) :].cumsum(axis=1)
_INPUTS = ("keys_per_min", "shortcut_rate", "clicks_per_min", "scroll_events_per_min", "mouse_distance")
_RATES = np.array(  # one row an input: the median in a minute of each task
    [
        [0.0, 78.0, 46.0, 26.0, 7.0, 3.0, 14.0, 132.0, 18.0],
        [0.0, 5.0, 0.8, 7.0, 0.3, 0.4, 1.5, 1.3, 1.3],
        [0.0, 6.5, 12.0, 15.0, 4.0, 6.0, 18.0, 3.5, 8.5],
        [0.0, 5.0, 6.0, 12.0, 1.5, 20.0, 26.0, 3.0, 8.0],
        [0.0, 300.0, 430.0, 700.0, 170.0, 390.0, 850.0, 200.0, 370.0],
    ]
)
_KEY_FACTOR = np.array([1.1, 1.2, 0.7, 1.1, 0.6, 1.0, 1.2, 0.5, 0.0])  # on keys and shortcuts in each category of _APPS
_POINTER_FACTOR = np.array([1.0, 0.6, 1.3, 0.9, 0.7, 1.0, 0.9, 1.3, 0.0])
_DRIFT_FACTOR = np.array([0.92, 1.00, 1.06, 1.10, 1.06])  # on each of _INPUTS
_QUIET = np.array([0.0, 0.03, 0.04, 0.05, 0.28, 0.14, 0.10, 0.04, 0.08])  # share of minutes with a twentieth of the usual input
_BACKSPACE = np.array([0.05, 0.10, 0.09, 0.07, 0.06, 0.05, 0.06, 0.14, 0.08])
_STAY = np.array([0.97, 0.80, 0.62, 0.72, 0.88, 0.80, 0.78, 0.82, 0.70])  # chance that the next minute stays in the same app
_FLIPS = np.array([0.0, 0.7, 1.2, 1.3, 0.3, 0.5, 0.7, 0.4, 0.8])  # further app changes within a minute
_LENGTH = np.array([11.0, 18.0, 15.0, 17.0, 21.0, 15.0, 15.0, 17.0])  # median minutes of a block
_STARTS = np.array(  # weight of starting a block of each task
    [
        [0.6, 1.3, 3.6, 1.0, 1.0, 0.8, 1.1, 1.0],  # first hour
        [1.3, 1.4, 1.0, 1.2, 1.2, 1.0, 1.1, 1.3],  # morning
        [1.8, 1.0, 1.5, 0.9, 0.8, 1.3, 1.3, 1.0],  # before lunch
        [1.3, 1.0, 1.2, 1.1, 1.4, 1.1, 1.3, 1.1],  # after lunch
        [1.3, 1.4, 1.1, 1.5, 0.8, 1.1, 1.2, 1.3],  # afternoon
        [1.3, 1.0, 1.5, 1.0, 0.5, 1.5, 1.3, 1.6],  # late
    ]
)
_DRIFT_LIKING = np.array([0.95, 0.90, 1.10, 0.95, 1.05, 1.05, 1.0, 1.1])
_MEETINGS_BY_WEEKDAY = (1.4, 1.1, 0.7, 1.1, 0.8, 0.6, 0.6)
_CONFUSED_WITH = np.array([_BREAK, _DEBUG, _WRITE, _BUILD, _COMMUNICATE, _REVIEW, _READ, _READ])

_DAY = timedelta(days=1)
_TIME = pa.timestamp("us", tz="UTC")
_ARROW_TYPES: dict[ColumnType, pa.DataType] = {
    "str": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "list": pa.list_(pa.string()),
    "datetime": _TIME,
}
_SPAN_SCHEMA = pa.schema(
    [
        ("start_ts", _TIME),
        ("end_ts", _TIME),
        ("label", pa.string()),
        ("provenance", pa.string()),
        ("user_id", pa.string()),
        ("confidence", pa.float64()),
        ("extend_forward", pa.bool_()),
    ]
)


class DemoHomeError(TaskclfDagsterError):
    """A demo home cannot be made or extended as asked; nothing was changed."""

    def __init__(self, root: Path, reason: str) -> None:
        super().__init__(f"No demo data was written into {root}: {reason}.")


@dataclass(frozen=True)
class DemoHome:
    """A demo home as it now stands.

    Attributes:
        root: its folder.
        users: ids of the invented people.
        first_day: the first day with windows (UTC).
        last_day: the last day with windows (UTC).
        windows: recorded windows of all people.
        spans: label spans that the generator wrote, of all people.
        labeled_minutes: recorded windows that lie wholly in one of these spans.
    """

    root: Path
    users: tuple[str, ...]
    first_day: date
    last_day: date
    windows: int
    spans: int
    labeled_minutes: int


class _Marker(Record):
    about: str = "This home was generated by `taskclf-dagster demo`: its people, windows and labels are invented."
    seed: int
    users: int
    days: int
    end: date
    rows: SchemaVersion = Field(alias="schema")
    drift_from: date
    windows: int = 0
    spans: int = 0
    labeled_minutes: int = 0


def generate_demo_home(root: Path, *, end: date, users: int = 3, days: int = 30, seed: int = 7, schema: SchemaVersion = "v1") -> DemoHome:
    """Writes a demo home; the same arguments give the same bytes. An earlier demo home's windows and labels are replaced.

    Args:
        root: the home's folder: new, empty, or an earlier demo home.
        end: the last day with windows (UTC).
        users: number of people; v2 rows have no user_id, so v2 is for one.
        days: number of days, `end` included.
        seed: 0 or more; another seed invents other people.
        schema: the version of the feature rows.

    Raises:
        DemoHomeError: `users`, `days` or `seed` is out of range, or the folder holds something but is not marked as a demo home.
    """
    for name, value, smallest in (("users", users, 1), ("days", days, 1), ("seed", seed, 0)):
        if value < smallest:
            raise DemoHomeError(root, f"{name} is {value}, but must be {smallest} or more")
    if schema == "v2" and users != 1:
        raise DemoHomeError(root, f"users is {users}, but must be 1 with schema v2, whose rows carry no user_id")
    home = Home(root)
    if root.exists() and not home.is_demo and (not root.is_dir() or any(root.iterdir())):
        raise DemoHomeError(root, f"it is not empty and has no {home.demo_marker.name} file. Name a new folder")
    marker = _Marker(seed=seed, users=users, days=days, end=end, schema=schema, drift_from=end - (DRIFT_DAYS - 1) * _DAY)
    write_json(home.demo_marker, marker.model_dump(mode="json", by_alias=True))
    for path in [home.labels, *(path for version in SCHEMA_VERSIONS for path in home.features(version).glob("date=*/features.parquet"))]:
        path.unlink(missing_ok=True)
    return _write_days(home, marker, new_days=days, spans=_SPAN_SCHEMA.empty_table())


def extend_demo_home(root: Path, *, days: int) -> DemoHome:
    """Adds days after a demo home's last one; windows and spans that are there stay as they are.

    Args:
        root: the folder of a complete demo home.
        days: number of days to add.

    Raises:
        DemoHomeError: `days` is less than 1, the folder has no marker, or its generation never finished.
    """
    if days < 1:
        raise DemoHomeError(root, f"days is {days}, but must be 1 or more")
    home = Home(root)
    try:
        marker = _Marker.model_validate(read_json_object(home.demo_marker))
    except (UnreadableFileError, ValidationError) as error:
        raise DemoHomeError(root, f"it has no readable {home.demo_marker.name} file, so it is not known to be a demo home") from error
    if not marker.windows:
        raise DemoHomeError(root, "its generation was interrupted. Generate it again")
    spans = pq.read_table(home.labels)
    if spans.num_rows:  # an extension that was interrupted before it wrote the marker has left spans of the days that now come again
        again = pc.greater_equal(spans["start_ts"].cast(_TIME), pa.scalar(datetime.combine(marker.end + _DAY, time(), UTC)))
        spans = spans.filter(pc.invert(pc.and_(again, pc.equal(spans["provenance"], PROVENANCE))))
    grown = marker.model_copy(update={"days": marker.days + days, "end": marker.end + days * _DAY})
    return _write_days(home, grown, new_days=days, spans=spans)


def _write_days(home: Home, marker: _Marker, *, new_days: int, spans: pa.Table) -> DemoHome:
    """Writes the marker's last `new_days` days, then all spans, then the marker with the new totals."""
    columns = SCHEMAS[marker.rows].columns
    schema = pa.schema([(name, pa.null() if name == "device_id" else _ARROW_TYPES[kind]) for name, kind in columns.items()])
    people = sorted((_invent_person(marker, index) for index in range(marker.users)), key=lambda person: person.user_id)
    windows, labeled, span_tables = marker.windows, marker.labeled_minutes, [spans]
    for back in reversed(range(new_days)):
        day = marker.end - back * _DAY
        lived = [_live(person, day, marker) for person in people]
        table = pa.concat_tables(_table(rows, schema) for rows, _ in lived)
        write_atomic(home.features(marker.rows) / f"date={day}" / "features.parquet", partial(pq.write_table, table))
        span_tables += [_table(own_spans, _SPAN_SCHEMA) for _, own_spans in lived]
        windows += table.num_rows
        labeled += sum(_count_labeled(rows, own_spans) for rows, own_spans in lived)
    write_atomic(home.labels, partial(pq.write_table, pa.concat_tables(span_tables, promote_options="permissive")))
    totals = {"windows": windows, "labeled_minutes": labeled, "spans": marker.spans + sum(table.num_rows for table in span_tables[1:])}
    marker = marker.model_copy(update=totals)
    write_json(home.demo_marker, marker.model_dump(mode="json", by_alias=True))
    users = tuple(person.user_id for person in people)
    return DemoHome(home.root, users, marker.end - (marker.days - 1) * _DAY, marker.end, windows, marker.spans, labeled)


def _table(columns: Columns, schema: pa.Schema) -> pa.Table:
    return pa.table([pa.array(columns[field.name], field.type, from_pandas=True) for field in schema], schema=schema)


def _count_labeled(rows: Columns, spans: Columns) -> int:
    start, end = np.asarray(rows["bucket_start_ts"]), np.asarray(rows["bucket_end_ts"])
    span = np.searchsorted(np.asarray(spans["start_ts"]), start, side="right") - 1
    return int(np.sum((span >= 0) & (end <= np.asarray(spans["end_ts"])[span])))


@dataclass(frozen=True)
class _Person:
    index: int
    user_id: str
    start: int  # minute of the day (UTC) at which work begins
    lunch: int
    appetite: Floats  # for each task
    rates: Floats  # as _RATES, at this person's tempo
    app_mixes: tuple[Floats, Floats]  # cumulative shares of the apps in each task, before and after the drift
    title_hashes: npt.NDArray[np.object_]  # one entry a title, _TITLES_PER_APP for each app
    title_columns: dict[str, Floats]  # the title columns of schema v3, one entry a title


@dataclass(frozen=True)
class _Timeline:
    """The recorded minutes of one person's day, in order."""

    minute: Ints  # of the day
    block: Ints
    task: Ints
    session_row: Ints  # row of the session's first minute


def _invent_person(marker: _Marker, index: int) -> _Person:
    rng = np.random.default_rng([marker.seed, index])
    user_id = DEFAULT_USER if marker.rows == "v2" else str(uuid.UUID(bytes=rng.bytes(16), version=4))
    liking = rng.exponential(size=len(_APP_IDS)) ** 2
    liking[_NEW] = 0
    slots = _MIX[:, : len(_APPS)] * rng.gamma(25, 1 / 25, (len(_MIX), len(_APPS)))
    apps = (slots / slots.sum(axis=1, keepdims=True))[:, _SLOT] * (liking / np.bincount(_SLOT, liking)[_SLOT])
    later = apps.copy()
    later[:, :_NEW] *= 0.55
    later[:, _NEW] = apps[:, :_NEW].sum(axis=1) - later[:, :_NEW].sum(axis=1)
    start = int(rng.integers(7 * 60, 9 * 60 + 30))
    titles = range(len(_APP_IDS) * _TITLES_PER_APP)
    return _Person(
        index=index,
        user_id=user_id,
        start=start,
        lunch=start + int(rng.integers(200, 270)),
        appetite=rng.gamma(60, 1 / 60, len(LABELS)),
        rates=_RATES * np.exp(rng.normal(0, 0.2, (len(_INPUTS), 1)) + rng.normal(0, 0.04, _RATES.shape)),
        app_mixes=(apps.cumsum(axis=1), later.cumsum(axis=1)),
        title_hashes=np.array([hashlib.sha256(f"{user_id} {title}".encode()).hexdigest()[:12] for title in titles], dtype=object),
        title_columns=_invent_titles(rng, len(titles)) if marker.rows == "v3" else {},
    )


def _invent_titles(rng: np.random.Generator, titles: int) -> dict[str, Floats]:
    """Sketches and counts of made-up titles: no text exists behind them."""
    tokens = rng.integers(1, 12, titles)
    characters = tokens * rng.integers(4, 9, titles)
    columns: dict[str, Floats] = {}
    for kind, pieces in (("token", tokens), ("char3", characters)):
        sketch = rng.multinomial(pieces, rng.dirichlet(np.full(128, 0.2), titles)) / pieces[:, None]
        columns |= {f"title_{kind}_sketch_{i:03d}": sketch[:, i] for i in range(128)}
    unique = rng.binomial(tokens - 1, 0.95) + 1
    digits = rng.binomial(characters, 0.05)
    counts = {"title_char_count": characters, "title_token_count": tokens, "title_separator_count": rng.binomial(tokens, 0.3)}
    return columns | counts | {"title_unique_token_ratio": unique / tokens, "title_digit_ratio": digits / characters}


def _live(person: _Person, day: date, marker: _Marker) -> tuple[Columns, Columns]:
    """One person's day: the rows that taskclf records, and the spans the person labels."""
    rng = np.random.default_rng([marker.seed, person.index, day.toordinal()])
    drifted = day >= marker.drift_from
    plan = _plan_day(person, rng, day.weekday(), drifted)
    start, _, recorded, task = plan.T
    block = np.repeat(np.arange(len(plan)), recorded)
    minute = start[block] + np.arange(len(block)) - np.repeat(recorded.cumsum() - recorded, recorded)
    session_starts = np.diff(minute, prepend=-1000) > _SESSION_GAP + 1
    session_row = np.maximum.accumulate(np.where(session_starts, np.arange(len(minute)), 0))
    unsettled = _ODDS_CHANCE * (1 + 0.03 * min(max((day - marker.drift_from).days + 1, 0), 2 * DRIFT_DAYS))
    drifting_off = np.convolve(rng.random(len(minute)) < unsettled, np.ones(_ODDS_MINUTES))[: len(minute)] > 0
    doing = np.where(drifting_off & (task[block] != _BREAK), _ODDS, task[block])
    line = _Timeline(minute, block, doing, session_row)
    app = _use_apps(person, line, rng, drifted)
    inputs = _use_inputs(person, line, _SLOT[app], rng, drifted)
    ts = np.datetime64(day, "us") + minute.astype("timedelta64[m]")
    sessions = {row: hashlib.sha256(f"{person.user_id} {day} {minute[row]}".encode()).hexdigest()[:12] for row in np.unique(session_row)}
    rows: Columns = {
        "user_id": np.full(len(minute), person.user_id),
        "device_id": [None] * len(minute),
        "session_id": [sessions[row] for row in session_row],
        "bucket_start_ts": ts,
        "bucket_end_ts": ts + np.timedelta64(1, "m"),
        "schema_version": [marker.rows] * len(minute),
        "schema_hash": [SCHEMAS[marker.rows].schema_hash] * len(minute),
        "source_ids": [["aw-watcher-window", "aw-watcher-input"]] * len(minute),
        "idle_return_indicator": session_starts,
        "hour_of_day": minute // 60,
        "day_of_week": np.full(len(minute), day.weekday()),
        "session_length_so_far": (minute - minute[session_row]).astype(float),
    }
    apps = _app_columns(person, line, app, rng)
    return rows | apps | inputs | _dynamics(line, inputs), _label_day(person, plan, day, rng)


def _plan_day(person: _Person, rng: np.random.Generator, weekday: int, drifted: bool) -> Ints:
    """The day's blocks without a gap between them, one row each: start minute, minutes, recorded minutes, task or _AWAY."""
    goal = max(60, round(rng.normal(425, 20) if weekday < 5 else rng.normal(150, 25)))
    minute = person.start + int(rng.integers(-20, 21))
    turns = [person.start + 60, person.lunch - 75, person.lunch, person.lunch + 110, person.lunch + 220]
    liking = person.appetite * np.where(np.arange(len(LABELS)) == _MEET, _MEETINGS_BY_WEEKDAY[weekday], 1.0)
    if drifted:
        liking = liking * _DRIFT_LIKING
    blocks: list[tuple[int, int, int, int]] = []
    done = np.zeros(len(LABELS))

    def add(length: int, recorded: int, task: int) -> None:
        nonlocal minute
        blocks.append((minute, length, recorded, task))
        minute += length
        done[task] += recorded

    lunched = False
    while done.sum() < goal and minute < 22 * 60:
        chance = rng.random()
        if minute >= person.lunch and not lunched:  # the screen locks, and after some minutes the machine sleeps
            add(int(rng.integers(30, 51)), int(rng.integers(7, 14)), _BREAK)
            lunched = True
        elif chance < 0.14 and blocks:
            add(int(rng.integers(2, 26)), 0, _AWAY)
            if chance < 0.03:  # a short look at the messages between two walks
                glance = int(rng.integers(1, 3))
                add(glance, glance, _COMMUNICATE)
                add(int(rng.integers(7, 16)), 0, _AWAY)
        weights = liking * _STARTS[np.searchsorted(turns, minute, side="right")] / (1 + done / 20)
        if blocks and blocks[-1][3] != _AWAY:
            weights[blocks[-1][3]] = 0
        task = int(_pick(weights.cumsum()[None, :] / weights.sum(), rng)[0])
        length = int(np.clip(rng.lognormal(np.log(_LENGTH[task]), 0.4), 5, 55))
        add(length, length, task)
    return np.array(blocks)


def _pick(cumulative: Floats, rng: np.random.Generator) -> Ints:
    """Draws one column for each row of cumulative shares."""
    return (rng.random((len(cumulative), 1)) > cumulative[:, :-1]).sum(axis=1)


def _use_apps(person: _Person, line: _Timeline, rng: np.random.Generator, drifted: bool) -> Ints:
    """The app in front for most of each minute."""
    rows = np.arange(len(line.task))
    new_block = np.diff(line.block, prepend=-1) > 0
    resting = line.task == _BREAK  # whoever stops working leaves the app open
    switched = ~resting & (new_block | (rng.random(len(rows)) > _STAY[line.task]))
    switched[0] = True
    app = _pick(person.app_mixes[drifted][line.task], rng)[np.maximum.accumulate(np.where(switched, rows, 0))]
    minute_of_block = rows - np.maximum.accumulate(np.where(new_block, rows, 0))
    locks_after = np.where(rng.random(line.block[-1] + 1) < 0.75, rng.integers(0, 3, line.block[-1] + 1), 4)
    return np.where(resting & (minute_of_block >= locks_after[line.block]), _LOCK, app)


def _app_columns(person: _Person, line: _Timeline, app: Ints, rng: np.random.Generator) -> Columns:
    rows = np.arange(len(app))
    category = _CATEGORIES[app]
    changed = (np.diff(app, prepend=app[0]) != 0) & (rows > line.session_row)
    flips = changed + np.where(app == _LOCK, 0, rng.poisson(_FLIPS[line.task]))
    run_row = np.maximum.accumulate(np.where(changed | (rows == line.session_row), rows, 0))
    new_title = (run_row == rows) | ((rng.random(len(app)) < 0.3) & (line.task != _BREAK))
    title_row = np.maximum.accumulate(np.where(new_title, rows, 0))
    number = np.where(app == _LOCK, 0, (_TITLES_PER_APP * rng.random(len(app)) ** 2)[title_row].astype(np.int64))
    title = app * _TITLES_PER_APP + number
    domain = _pick(_DOMAIN_MIX[line.task], rng)[title_row]
    hashes = person.title_hashes[title]
    seen = np.eye(len(_APP_IDS))[app]
    columns: Columns = {
        "app_id": _APP_IDS[app],
        "app_category": category,
        "window_title_hash": hashes,
        "app_foreground_time_ratio": (1 / (1 + 0.25 * flips * rng.gamma(4, 1 / 4, len(app)))).round(4),
        "app_change_count": flips,
        "app_dwell_time_seconds": 60.0 * (rows - run_row + 1),
        "domain_category": _DOMAINS[np.where(category == "browser", domain, -1)],
        "window_title_bucket": np.array([int(text[:2], 16) for text in hashes]),
        "title_repeat_count_session": pd.Series(title).groupby([line.session_row, title]).cumcount().to_numpy() + 1,
    }
    for name in ("browser", "editor", "terminal"):
        columns[f"is_{name}"] = category == name
    for span in (5, 15):
        since = np.maximum(line.session_row, np.searchsorted(line.minute, line.minute - span + 1))
        shares = np.sort(_sums_since(since, seen), axis=1) / (rows - since + 1)[:, None]
        entropy = (shares * np.log2(1 / np.where(shares > 0, shares, 1))).sum(axis=1)
        columns |= {
            f"app_switch_count_last_{span}m": _sums_since(since, changed).astype(np.int64),
            f"app_entropy_{span}m": entropy.round(4),
        }
    columns["top2_app_concentration_15m"] = shares[:, -2:].sum(axis=1).round(4)
    return columns | {name: values[title] for name, values in person.title_columns.items()}


def _use_inputs(person: _Person, line: _Timeline, slot: Ints, rng: np.random.Generator, drifted: bool) -> dict[str, Floats]:
    """Keyboard and mouse: counts a minute, and what follows from them; NaN where a device was not recorded."""
    n = len(slot)
    factors = np.stack([_KEY_FACTOR, _KEY_FACTOR, _POINTER_FACTOR, _POINTER_FACTOR, _POINTER_FACTOR])[:, slot]
    mood = rng.normal(0, _BLOCK_NOISE, (len(_INPUTS), line.block[-1] + 1))[:, line.block]
    level = person.rates[:, line.task] * factors * np.exp(mood + rng.normal(0, _MINUTE_NOISE, (len(_INPUTS), n)))
    level *= np.where(rng.random(n) < _QUIET[line.task], 0.05, 1) * (_DRIFT_FACTOR[:, None] if drifted else 1)
    level[4] += np.where((line.task == _BREAK) & (slot != _SLOT[_LOCK]) & (rng.random(n) < 0.1), rng.gamma(2, 10, n), 0)
    keys, shortcuts, clicks, scrolls = rng.poisson(level[:4]).astype(float)
    shortcuts = np.minimum(shortcuts, keys)
    distance = level[4].round(1)
    by_keyboard = 60 * (1 - np.exp(-keys / 45))
    by_mouse = 60 * (1 - np.exp(-(distance / 900 + clicks / 25 + scrolls / 40)))
    by_any = by_keyboard + by_mouse * (1 - by_keyboard / 60)
    idle_run = (60 - by_any) * (1 - 0.6 * rng.random(n) * np.sqrt(by_any / 60))
    no_keyboard, no_mouse = (np.convolve(rng.random(n) < 0.003, np.ones(4))[:n] > 0 for _ in range(2))
    backspaces = rng.binomial(keys.astype(np.int64), _BACKSPACE[line.task]) / np.maximum(keys, 1)
    backspaces[(keys == 0) | (rng.random(n) < 0.02)] = np.nan
    columns = dict(zip(_INPUTS, (keys, shortcuts, clicks, scrolls, distance), strict=True)) | {
        "backspace_ratio": backspaces.round(4),
        "active_seconds_keyboard": by_keyboard.round(2),
        "active_seconds_mouse": by_mouse.round(2),
        "active_seconds_any": by_any.round(2),
        "max_idle_run_seconds": idle_run.round(2),
        "event_density": ((keys + clicks + scrolls) / np.maximum(by_any, 1)).round(4),
    }
    of_keyboard = {"keys_per_min", "shortcut_rate", "backspace_ratio", "active_seconds_keyboard"}
    of_mouse = {"clicks_per_min", "scroll_events_per_min", "mouse_distance", "active_seconds_mouse"}
    for name, values in columns.items():
        values[no_keyboard if name in of_keyboard else no_mouse if name in of_mouse else no_keyboard | no_mouse] = np.nan
    return columns


def _dynamics(line: _Timeline, inputs: dict[str, Floats]) -> Columns:
    """Means over the session's last 5 and 15 windows, and changes since its previous window."""
    rows = np.arange(len(line.minute))
    columns: Columns = {}
    for name in ("keys_per_min", "mouse_distance"):
        known = ~np.isnan(inputs[name])
        for span in (5, 15):
            since = np.maximum(line.session_row, rows - span + 1)
            total, count = _sums_since(since, np.where(known, inputs[name], 0)), _sums_since(since, known)
            columns[f"{name}_rolling_{span}"] = np.where(count > 0, total / np.maximum(count, 1), np.nan).round(4)
    for name in ("keys_per_min", "clicks_per_min", "mouse_distance"):
        change = np.diff(inputs[name], prepend=np.nan).round(4)
        columns[f"{name}_delta"] = np.where(rows > line.session_row, change, np.nan)
    return columns


def _sums_since(since: Ints, values: npt.NDArray[np.generic]) -> Floats:
    """For each row the sum of `values` from row `since` to this one."""
    totals = np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0, dtype=float)])
    return np.asarray(totals[1:] - totals[since])


def _label_day(person: _Person, plan: Ints, day: date, rng: np.random.Generator) -> Columns:
    """The person's label spans: most blocks, with some wrong labels and some edges off by a minute or two."""
    n = len(plan)
    start, length, _, task = plan.T
    works = task != _BREAK  # the lock screen makes breaks plain to see
    labeled = (task != _AWAY) & (length >= 5) & (rng.random(n) < np.where(works, 0.74, 0.9))
    free_before, free_after = ~np.append(False, labeled[:-1]), ~np.append(labeled[1:], False)
    begin, end = start * 60, (start + length) * 60
    for edge, outward, free in ((begin, -1, free_before), (end, 1, free_after)):
        sign = np.where(free & (rng.random(n) < 0.5), outward, -outward)
        edge += np.where(works & (rng.random(n) < 0.12), sign * 60 * rng.integers(1, 3, n), 0)
        edge -= np.where(rng.random(n) < 0.25, outward * rng.integers(1, 59, n), 0)
    hasty = (length <= 15) & (rng.random(n) < 0.06)  # short blocks are labelled with less care
    label = np.where(hasty, _CONFUSED_WITH[task], task)
    chosen = labeled & (end - begin >= 300)
    midnight = np.datetime64(day, "us")
    count = int(chosen.sum())
    return {
        "start_ts": midnight + begin[chosen].astype("timedelta64[s]"),
        "end_ts": midnight + end[chosen].astype("timedelta64[s]"),
        "label": np.array(LABELS, dtype=object)[label[chosen]],
        "provenance": [PROVENANCE] * count,
        "user_id": [person.user_id] * count,
        "confidence": rng.beta(9, 2, n)[chosen].round(2),
        "extend_forward": [False] * count,
    }
