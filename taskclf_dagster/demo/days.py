"""Generates days of invented people: their tasks, the feature rows that taskclf would record, and their label spans.

Files are written by `demo.generator`; columns are defined in `domain.data.feature_schema`. A day is a hidden sequence of task
blocks, and each recorded value follows from the block's task, the person, the app and noise. Each (person, day) has its own random
generator, so that a day's bytes do not depend on which other days exist.
"""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.demo.habits import (
    APP_IDS,
    APPS,
    AWAY,
    BACKSPACE,
    BLOCK_NOISE,
    BREAK,
    CATEGORIES,
    COMMUNICATE,
    CONFUSED_WITH,
    DOMAIN_MIX,
    DOMAINS,
    DRIFT_DAYS,
    DRIFT_FACTOR,
    DRIFT_LIKING,
    FLIPS,
    INPUTS,
    KEY_FACTOR,
    LENGTH,
    LOCK,
    MEET,
    MEETINGS_BY_WEEKDAY,
    MINUTE_NOISE,
    MIX,
    NEW,
    ODDS,
    ODDS_CHANCE,
    ODDS_MINUTES,
    POINTER_FACTOR,
    QUIET,
    RATES,
    SESSION_GAP,
    SLOT,
    STARTS,
    STAY,
    TITLES_PER_APP,
)
from taskclf_dagster.domain.data.feature_schema import DEFAULT_USER, LABELS, SCHEMAS, SchemaVersion

Floats = npt.NDArray[np.float64]


Ints = npt.NDArray[np.int64]


Bools = npt.NDArray[np.bool_]


Columns = dict[str, npt.NDArray[np.generic] | Sequence[object]]


PROVENANCE = "manual:demo"


@dataclass(frozen=True)
class Plan:
    """The settings that all days of a demo home share. From the day `drift_from` on a new app is used and habits have shifted."""

    seed: int
    schema: SchemaVersion
    drift_from: date


@dataclass(frozen=True)
class Person:
    """An invented person: working hours, tempo, preferred apps, and titles."""

    index: int
    user_id: str
    start: int  # minute of the day (UTC) at which work begins
    lunch: int
    appetite: Floats  # for each task
    rates: Floats  # as RATES, at this person's tempo
    app_mixes: tuple[Floats, Floats]  # cumulative shares of the apps in each task, before and after the drift
    title_hashes: npt.NDArray[np.object_]  # one entry a title, TITLES_PER_APP for each app
    title_columns: dict[str, npt.NDArray[np.generic]]  # the title columns of schema v3, one entry a title


@dataclass(frozen=True)
class _Timeline:
    """The recorded minutes of one person's day, in order."""

    minute: Ints  # of the day
    block: Ints
    task: Ints
    session_row: Ints  # row of the session's first minute


def invent_person(shared: Plan, index: int) -> Person:
    """Returns the person with an index: the same for the same seed and schema."""
    rng = np.random.default_rng([shared.seed, index])
    user_id = DEFAULT_USER if shared.schema == "v2" else str(uuid.UUID(bytes=rng.bytes(16), version=4))
    liking = rng.exponential(size=len(APP_IDS)) ** 2
    liking[NEW] = 0
    slots = MIX[:, : len(APPS)] * rng.gamma(25, 1 / 25, (len(MIX), len(APPS)))
    apps = (slots / slots.sum(axis=1, keepdims=True))[:, SLOT] * (liking / np.bincount(SLOT, liking)[SLOT])
    later = apps.copy()
    later[:, :NEW] *= 0.55
    later[:, NEW] = apps[:, :NEW].sum(axis=1) - later[:, :NEW].sum(axis=1)
    start = int(rng.integers(7 * 60, 9 * 60 + 30))
    titles = range(len(APP_IDS) * TITLES_PER_APP)
    return Person(
        index=index,
        user_id=user_id,
        start=start,
        lunch=start + int(rng.integers(200, 270)),
        appetite=rng.gamma(60, 1 / 60, len(LABELS)),
        rates=RATES * np.exp(rng.normal(0, 0.2, (len(INPUTS), 1)) + rng.normal(0, 0.04, RATES.shape)),
        app_mixes=(apps.cumsum(axis=1), later.cumsum(axis=1)),
        title_hashes=np.array([hashlib.sha256(f"{user_id} {title}".encode()).hexdigest()[:12] for title in titles], dtype=object),
        title_columns=_invent_titles(rng, len(titles)) if shared.schema == "v3" else {},
    )


def _invent_titles(rng: np.random.Generator, titles: int) -> dict[str, npt.NDArray[np.generic]]:
    """Returns sketches and counts of invented titles, for which no text exists."""
    tokens = rng.integers(1, 12, titles)
    characters = tokens * rng.integers(4, 9, titles)
    columns: dict[str, npt.NDArray[np.generic]] = {}
    for kind, pieces in (("token", tokens), ("char3", characters)):
        sketch = rng.multinomial(pieces, rng.dirichlet(np.full(128, 0.2), titles)) / pieces[:, None]
        columns |= {f"title_{kind}_sketch_{i:03d}": sketch[:, i] for i in range(128)}
    unique = rng.binomial(tokens - 1, 0.95) + 1
    digits = rng.binomial(characters, 0.05)
    counts = {"title_char_count": characters, "title_token_count": tokens, "title_separator_count": rng.binomial(tokens, 0.3)}
    return columns | counts | {"title_unique_token_ratio": unique / tokens, "title_digit_ratio": digits / characters}


def live_day(person: Person, day: date, shared: Plan) -> tuple[Columns, Columns]:
    """Returns one person's day: the feature rows that taskclf records, and the label spans."""
    rng = np.random.default_rng([shared.seed, person.index, day.toordinal()])
    drifted = day >= shared.drift_from
    plan = _sharedday(person, rng, day.weekday(), drifted)
    start, _, recorded, task = plan.T
    block = np.repeat(np.arange(len(plan)), recorded)
    minute = start[block] + np.arange(len(block)) - np.repeat(recorded.cumsum() - recorded, recorded)
    session_starts = np.diff(minute, prepend=-1000) > SESSION_GAP + 1
    session_row = np.maximum.accumulate(np.where(session_starts, np.arange(len(minute)), 0))
    unsettled = ODDS_CHANCE * (1 + 0.03 * min(max((day - shared.drift_from).days + 1, 0), 2 * DRIFT_DAYS))
    drifting_off = np.convolve(rng.random(len(minute)) < unsettled, np.ones(ODDS_MINUTES))[: len(minute)] > 0
    doing = np.where(drifting_off & (task[block] != BREAK), ODDS, task[block])
    line = _Timeline(minute, block, doing, session_row)
    app = _use_apps(person, line, rng, drifted)
    inputs = _use_inputs(person, line, SLOT[app], rng, drifted)
    ts = np.datetime64(day, "us") + minute.astype("timedelta64[m]")
    sessions = {row: hashlib.sha256(f"{person.user_id} {day} {minute[row]}".encode()).hexdigest()[:12] for row in np.unique(session_row)}
    rows: Columns = {
        "user_id": np.full(len(minute), person.user_id),
        "device_id": [None] * len(minute),
        "session_id": [sessions[row] for row in session_row],
        "bucket_start_ts": ts,
        "bucket_end_ts": ts + np.timedelta64(1, "m"),
        "schema_version": [shared.schema] * len(minute),
        "schema_hash": [SCHEMAS[shared.schema].schema_hash] * len(minute),
        "source_ids": [["aw-watcher-window", "aw-watcher-input"]] * len(minute),
        "idle_return_indicator": session_starts,
        "hour_of_day": minute // 60,
        "day_of_week": np.full(len(minute), day.weekday()),
        "session_length_so_far": (minute - minute[session_row]).astype(float),
    }
    apps = _app_columns(person, line, app, rng)
    return rows | apps | inputs | _dynamics(line, inputs), _label_day(person, plan, day, rng)


def _sharedday(person: Person, rng: np.random.Generator, weekday: int, drifted: bool) -> Ints:
    """Returns the day's blocks, contiguous, one row each: start minute, minutes, recorded minutes, task or AWAY."""
    goal = max(60, round(rng.normal(425, 20) if weekday < 5 else rng.normal(150, 25)))
    minute = person.start + int(rng.integers(-20, 21))
    turns = [person.start + 60, person.lunch - 75, person.lunch, person.lunch + 110, person.lunch + 220]
    liking = person.appetite * np.where(np.arange(len(LABELS)) == MEET, MEETINGS_BY_WEEKDAY[weekday], 1.0)
    if drifted:
        liking = liking * DRIFT_LIKING
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
            add(int(rng.integers(30, 51)), int(rng.integers(7, 14)), BREAK)
            lunched = True
        elif chance < 0.14 and blocks:
            add(int(rng.integers(2, 26)), 0, AWAY)
            if chance < 0.03:  # a short look at the messages between two walks
                glance = int(rng.integers(1, 3))
                add(glance, glance, COMMUNICATE)
                add(int(rng.integers(7, 16)), 0, AWAY)
        weights = liking * STARTS[np.searchsorted(turns, minute, side="right")] / (1 + done / 20)
        weights[blocks[-1][3] if blocks and blocks[-1][3] != AWAY else BREAK] = 0  # nobody comes back only to have a break
        task = int(_pick(weights.cumsum()[None, :] / weights.sum(), rng)[0])
        length = int(np.clip(rng.lognormal(np.log(LENGTH[task]), 0.4), 5, 55))
        add(length, length, task)
    return np.array(blocks)


def _pick(cumulative: Floats, rng: np.random.Generator) -> Ints:
    """Draws one column for each row of cumulative shares."""
    return (rng.random((len(cumulative), 1)) > cumulative[:, :-1]).sum(axis=1)


def _use_apps(person: Person, line: _Timeline, rng: np.random.Generator, drifted: bool) -> Ints:
    """Returns the app in the foreground for most of each minute."""
    rows = np.arange(len(line.task))
    new_block = np.diff(line.block, prepend=-1) > 0
    resting = line.task == BREAK  # whoever stops working leaves the app open
    switched = ~resting & (new_block | (rng.random(len(rows)) > STAY[line.task]))
    switched[0] = True
    app = _pick(person.app_mixes[drifted][line.task], rng)[np.maximum.accumulate(np.where(switched, rows, 0))]
    minute_of_block = rows - np.maximum.accumulate(np.where(new_block, rows, 0))
    locks_after = np.where(rng.random(line.block[-1] + 1) < 0.75, rng.integers(0, 3, line.block[-1] + 1), 4)
    return np.where(resting & (minute_of_block >= locks_after[line.block]), LOCK, app)


def _app_columns(person: Person, line: _Timeline, app: Ints, rng: np.random.Generator) -> Columns:
    rows = np.arange(len(app))
    category = CATEGORIES[app]
    changed = (np.diff(app, prepend=app[0]) != 0) & (rows > line.session_row)
    flips = changed + np.where(app == LOCK, 0, rng.poisson(FLIPS[line.task]))
    run_row = np.maximum.accumulate(np.where(changed | (rows == line.session_row), rows, 0))
    new_title = (run_row == rows) | ((rng.random(len(app)) < 0.3) & (line.task != BREAK))
    title_row = np.maximum.accumulate(np.where(new_title, rows, 0))
    number = np.where(app == LOCK, 0, (TITLES_PER_APP * rng.random(len(app)) ** 2)[title_row].astype(np.int64))
    title = app * TITLES_PER_APP + number
    domain = _pick(DOMAIN_MIX[line.task], rng)[title_row]
    hashes = person.title_hashes[title]
    seen = np.eye(len(APP_IDS))[app]
    columns: Columns = {
        "app_id": APP_IDS[app],
        "app_category": category,
        "window_title_hash": hashes,
        "app_foreground_time_ratio": (1 / (1 + 0.25 * flips * rng.gamma(4, 1 / 4, len(app)))).round(4),
        "app_change_count": flips,
        "app_dwell_time_seconds": 60.0 * (rows - run_row + 1),
        "domain_category": DOMAINS[np.where(category == "browser", domain, -1)],
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


def _use_inputs(person: Person, line: _Timeline, slot: Ints, rng: np.random.Generator, drifted: bool) -> dict[str, Floats]:
    """Returns keyboard and mouse counts per minute, and the features derived from them; NaN if a device was not recorded."""
    n = len(slot)
    factors = np.stack([KEY_FACTOR, KEY_FACTOR, POINTER_FACTOR, POINTER_FACTOR, POINTER_FACTOR])[:, slot]
    mood = rng.normal(0, BLOCK_NOISE, (len(INPUTS), line.block[-1] + 1))[:, line.block]
    level = person.rates[:, line.task] * factors * np.exp(mood + rng.normal(0, MINUTE_NOISE, (len(INPUTS), n)))
    level *= np.where(rng.random(n) < QUIET[line.task], 0.05, 1) * (DRIFT_FACTOR[:, None] if drifted else 1)
    level[4] += np.where((line.task == BREAK) & (slot != SLOT[LOCK]) & (rng.random(n) < 0.1), rng.gamma(2, 10, n), 0)
    keys, shortcuts, clicks, scrolls = rng.poisson(level[:4]).astype(float)
    shortcuts = np.minimum(shortcuts, keys)
    distance = level[4].round(1)
    by_keyboard = 60 * (1 - np.exp(-keys / 45))
    by_mouse = 60 * (1 - np.exp(-(distance / 900 + clicks / 25 + scrolls / 40)))
    by_any = by_keyboard + by_mouse * (1 - by_keyboard / 60)
    idle_run = (60 - by_any) * (1 - 0.6 * rng.random(n) * np.sqrt(by_any / 60))
    no_keyboard, no_mouse = (np.convolve(rng.random(n) < 0.003, np.ones(4))[:n] > 0 for _ in range(2))
    backspaces = rng.binomial(keys.astype(np.int64), BACKSPACE[line.task]) / np.maximum(keys, 1)
    backspaces[(keys == 0) | (rng.random(n) < 0.02)] = np.nan
    columns = dict(zip(INPUTS, (keys, shortcuts, clicks, scrolls, distance), strict=True)) | {
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
    """Returns means over the session's last 5 and 15 windows, and differences from its previous window."""
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
    """Returns for each row the sum of `values` from row `since` to this one."""
    totals = np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0, dtype=float)])
    return np.asarray(totals[1:] - totals[since])


def _label_day(person: Person, plan: Ints, day: date, rng: np.random.Generator) -> Columns:
    """Returns the person's label spans: most blocks, with some wrong labels and some edges off by a minute or two."""
    n = len(plan)
    start, length, _, task = plan.T
    works = task != BREAK  # the lock screen makes breaks plain to see
    labeled = (task != AWAY) & (length >= 5) & (rng.random(n) < np.where(works, 0.74, 0.9))
    free_before, free_after = ~np.append(False, labeled[:-1]), ~np.append(labeled[1:], False)
    begin, end = start * 60, (start + length) * 60
    for edge, outward, free in ((begin, -1, free_before), (end, 1, free_after)):
        sign = np.where(free & (rng.random(n) < 0.5), outward, -outward)
        edge += np.where(works & (rng.random(n) < 0.12), sign * 60 * rng.integers(1, 3, n), 0)
        edge -= np.where(rng.random(n) < 0.25, outward * rng.integers(1, 59, n), 0)
    hasty = (length <= 15) & (rng.random(n) < 0.06)  # short blocks are labelled with less care
    label = np.where(hasty, CONFUSED_WITH[task], task)
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
