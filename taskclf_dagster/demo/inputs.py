"""Keyboard and mouse of a person, and the columns that taskclf derives from them."""

import numpy as np

from taskclf_dagster.demo.columns import Columns, Floats, Ints, sums_since
from taskclf_dagster.demo.habits import (
    BACKSPACE,
    BLOCK_NOISE,
    BREAK,
    DRIFT_FACTOR,
    INPUTS,
    KEY_FACTOR,
    LOCK,
    MINUTE_NOISE,
    POINTER_FACTOR,
    QUIET,
    SLOT,
)
from taskclf_dagster.demo.people import Person
from taskclf_dagster.demo.timeline import Timeline


def use_inputs(person: Person, line: Timeline, slot: Ints, rng: np.random.Generator, drifted: bool) -> dict[str, Floats]:
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


def make_dynamics(line: Timeline, inputs: dict[str, Floats]) -> Columns:
    """Returns means over the session's last 5 and 15 windows, and differences from its previous window."""
    rows = np.arange(len(line.minute))
    columns: Columns = {}
    for name in ("keys_per_min", "mouse_distance"):
        known = ~np.isnan(inputs[name])
        for span in (5, 15):
            since = np.maximum(line.session_row, rows - span + 1)
            total, count = sums_since(since, np.where(known, inputs[name], 0)), sums_since(since, known)
            columns[f"{name}_rolling_{span}"] = np.where(count > 0, total / np.maximum(count, 1), np.nan).round(4)
    for name in ("keys_per_min", "clicks_per_min", "mouse_distance"):
        change = np.diff(inputs[name], prepend=np.nan).round(4)
        columns[f"{name}_delta"] = np.where(rows > line.session_row, change, np.nan)
    return columns
