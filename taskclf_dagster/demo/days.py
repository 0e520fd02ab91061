"""Generates days of invented people: their tasks, the feature rows that taskclf would record, and their label spans.

Files are written by `demo.generator`; columns are defined in `domain.data.feature_schema`. A day is a hidden sequence of task
blocks, and each recorded value follows from the block's task, the person, the app and noise. Each (person, day) has its own random
generator, so that a day's bytes do not depend on which other days exist.
"""

import hashlib
from datetime import date

import numpy as np

from taskclf_dagster.demo.apps import make_app_columns, use_apps
from taskclf_dagster.demo.columns import Columns
from taskclf_dagster.demo.habits import SLOT
from taskclf_dagster.demo.inputs import make_dynamics, use_inputs
from taskclf_dagster.demo.labels import label_day
from taskclf_dagster.demo.people import Person, Plan
from taskclf_dagster.demo.timeline import plan_blocks, record_minutes
from taskclf_dagster.domain.data.feature_schema import SCHEMAS


def live_day(person: Person, day: date, shared: Plan) -> tuple[Columns, Columns]:
    """Returns one person's day: the feature rows that taskclf records, and the label spans."""
    rng = np.random.default_rng([shared.seed, person.index, day.toordinal()])
    drifted = day >= shared.drift_from
    blocks = plan_blocks(person, rng, weekday=day.weekday(), drifted=drifted)
    line = record_minutes(blocks, day, rng, drift_from=shared.drift_from)
    app = use_apps(person, line, rng, drifted)
    inputs = use_inputs(person, line, SLOT[app], rng, drifted)
    minute, session_row = line.minute, line.session_row
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
        "idle_return_indicator": line.session_starts,
        "hour_of_day": minute // 60,
        "day_of_week": np.full(len(minute), day.weekday()),
        "session_length_so_far": (minute - minute[session_row]).astype(float),
    }
    apps = make_app_columns(person, line, app, rng)
    return rows | apps | inputs | make_dynamics(line, inputs), label_day(person, blocks, day, rng)
