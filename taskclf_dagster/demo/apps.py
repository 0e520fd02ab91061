"""The apps that a person uses, and the columns that taskclf derives from them."""

import numpy as np
import pandas as pd

from taskclf_dagster.demo.columns import Columns, Ints, pick, sums_since
from taskclf_dagster.demo.habits import APP_IDS, BREAK, CATEGORIES, DOMAIN_MIX, DOMAINS, FLIPS, LOCK, STAY, TITLES_PER_APP
from taskclf_dagster.demo.people import Person
from taskclf_dagster.demo.timeline import Timeline


def use_apps(person: Person, line: Timeline, rng: np.random.Generator, drifted: bool) -> Ints:
    """Returns the app in the foreground for most of each minute."""
    rows = np.arange(len(line.task))
    new_block = np.diff(line.block, prepend=-1) > 0
    resting = line.task == BREAK  # whoever stops working leaves the app open
    switched = ~resting & (new_block | (rng.random(len(rows)) > STAY[line.task]))
    switched[0] = True
    app = pick(person.app_mixes[drifted][line.task], rng)[np.maximum.accumulate(np.where(switched, rows, 0))]
    minute_of_block = rows - np.maximum.accumulate(np.where(new_block, rows, 0))
    locks_after = np.where(rng.random(line.block[-1] + 1) < 0.75, rng.integers(0, 3, line.block[-1] + 1), 4)
    return np.where(resting & (minute_of_block >= locks_after[line.block]), LOCK, app)


def make_app_columns(person: Person, line: Timeline, app: Ints, rng: np.random.Generator) -> Columns:
    """Returns the columns of apps, titles and app changes."""
    rows = np.arange(len(app))
    category = CATEGORIES[app]
    changed = (np.diff(app, prepend=app[0]) != 0) & (rows > line.session_row)
    flips = changed + np.where(app == LOCK, 0, rng.poisson(FLIPS[line.task]))
    run_row = np.maximum.accumulate(np.where(changed | (rows == line.session_row), rows, 0))
    new_title = (run_row == rows) | ((rng.random(len(app)) < 0.3) & (line.task != BREAK))
    title_row = np.maximum.accumulate(np.where(new_title, rows, 0))
    number = np.where(app == LOCK, 0, (TITLES_PER_APP * rng.random(len(app)) ** 2)[title_row].astype(np.int64))
    title = app * TITLES_PER_APP + number
    domain = pick(DOMAIN_MIX[line.task], rng)[title_row]
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
        shares = np.sort(sums_since(since, seen), axis=1) / (rows - since + 1)[:, None]
        entropy = (shares * np.log2(1 / np.where(shares > 0, shares, 1))).sum(axis=1)
        columns |= {
            f"app_switch_count_last_{span}m": sums_since(since, changed).astype(np.int64),
            f"app_entropy_{span}m": entropy.round(4),
        }
    columns["top2_app_concentration_15m"] = shares[:, -2:].sum(axis=1).round(4)
    return columns | {name: values[title] for name, values in person.title_columns.items()}
