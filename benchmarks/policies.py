"""Replays policies on homes of which it is known what changes in them: the tables of docs/policies.md.

    python benchmarks/policies.py FOLDER SCENARIO...

FOLDER is new or of an earlier call, which goes on. A scenario is quiet, drift, rot, or `HOME FIRST LAST` as one text, of a copy of a home.
"""

import json
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.demo.generator import extend_demo_home, generate_demo_home
from taskclf_dagster.domain.backtest.policies import Policy, list_policies
from taskclf_dagster.domain.backtest.replay import ReplayedTime, replay_policies
from taskclf_dagster.domain.backtest.replay_record import Replay
from taskclf_dagster.domain.backtest.shared_fits import Trainer
from taskclf_dagster.domain.backtest.workshop import Workshop
from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.reporting.replay_words import list_cells, say_range
from taskclf_dagster.home import Home
from taskclf_dagster.provenance import library_versions

START = date(2026, 3, 2)
DAYS, CHANGE, USERS, EVERY = 48, 24, 1, 3
ROTTEN = 0.4
"""Share of the spans from the day of the change on that get another label, as of a person who has stopped caring."""


SEEDS = (7, 8, 9)


CHANGES: dict[str, dict[str, object]] = {
    "hold": {"evidence_policy": "hold"},
    "superior": {"evidence_policy": "superior"},
    "weekly": {"min_new_labels": 100_000},
}


def main(folder: Path, scenarios: list[str]) -> None:
    present = RetrainConfig()
    policies = list_policies(present)
    policies += [Policy(name, "gates", policies[0].config.with_changes(**changes)) for name, changes in CHANGES.items()]
    for seed in SEEDS:
        for scenario in scenarios:
            if " " in scenario and seed != SEEDS[0]:
                continue
            home, judged_by, first, last = make_home(folder, scenario, seed)
            trainer = Trainer(1, "benchmark", library_versions(), time.perf_counter, time.process_time)
            span = ReplayedTime(first, last, ZoneInfo("UTC"), EVERY)
            found = replay_policies(Workshop.open(home, trainer), policies, span, present=present, workers=1, judged_by=judged_by)
            (folder / f"{home.root.name}.json").write_text(json.dumps(found.model_dump(mode="json")), encoding="utf-8")
            show(home.root.name, found)


def make_home(folder: Path, scenario: str, seed: int) -> tuple[Home, Home | None, datetime, datetime]:
    """Returns a home, the one with the right labels if its own are not, and the time to replay."""
    if " " in scenario:
        root, first, last = scenario.split()
        return Home(Path(root)), None, datetime.fromisoformat(first).replace(tzinfo=UTC), datetime.fromisoformat(last).replace(tzinfo=UTC)
    home = Home(folder / f"{scenario}-{seed}")
    clean = Home(folder / f"{'quiet' if scenario == 'rot' else scenario}-{seed}")
    if not clean.labels.exists():
        if scenario == "drift":  # a home changes in its last seven days, and days that are added are like them
            generate_demo_home(clean.root, end=START + timedelta(days=CHANGE + 6), users=USERS, days=CHANGE + 7, seed=seed)
            extend_demo_home(clean.root, days=DAYS - CHANGE - 7)
        else:
            generate_demo_home(clean.root, end=START + timedelta(days=DAYS + 6), users=USERS, days=DAYS + 7, seed=seed)
    if scenario == "rot" and not home.labels.exists():
        rot(clean, home, seed)
    begin = datetime(START.year, START.month, START.day, tzinfo=UTC)
    return home, clean if scenario == "rot" else None, begin + timedelta(days=7), begin + timedelta(days=DAYS)


def rot(clean: Home, home: Home, seed: int) -> None:
    home.processed.mkdir(parents=True)
    home.features("v1").symlink_to(clean.features("v1"))
    home.demo_marker.write_bytes(clean.demo_marker.read_bytes())
    table, rng = pq.read_table(clean.labels), np.random.default_rng(seed)
    starts = np.array(table["start_ts"].to_pylist())
    since = datetime(START.year, START.month, START.day, tzinfo=UTC) + timedelta(days=CHANGE)
    labels = np.array(table["label"].to_pylist(), dtype=object)
    wrong = (starts >= since) & (rng.random(len(labels)) < ROTTEN)
    labels[wrong] = rng.choice(LABELS, int(wrong.sum()))
    home.labels.parent.mkdir(parents=True)
    pq.write_table(table.set_column(table.column_names.index("label"), "label", pa.array(labels, pa.string())), home.labels)


def show(name: str, found: Replay) -> None:
    print(f"\n{name}: {say_range(found)}")
    for policy in found.policies:
        print("| " + " | ".join(list_cells(policy)) + " |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2:])
