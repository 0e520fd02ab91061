"""A small home whose windows are in as many parts as a test asks for."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from taskclf_dagster.home import Home
from taskclf_dagster_tests.retrain_scenario import FAST
from taskclf_dagster_tests.scenario import AS_OF, DAY, add_learnable_days, learnable_home, retrain_config, weak, write_labels

DAYS, OLDER_DAYS = 5, 5

CONFIG = retrain_config(
    train_params={**FAST, "num_boost_round": 4},
    min_class_windows=10,
    data_lookback_days=DAYS + 3,
    training_lookback_days=20,
    auto_promote=True,
    prove_reproducible=False,
)

WINDOWS_OF_PARTS = {1: 1_000_000, 2: 3605, 3: 2410, 7: 800}
"""Windows of a part by number of parts, for eight people: the first has 1600 windows, the others 800, the last no labels.

Ten windows come twice.
"""


def home_of_parts(folder: Path) -> Home:
    """Windows of days whose files have their people in odd order, with a window twice, weak spans, and a person without labels."""
    made = learnable_home(folder, users=8, days=DAYS)
    add_learnable_days(made, first=AS_OF - (DAYS + OLDER_DAYS) * DAY, users=1, days=OLDER_DAYS, version="v1", confusion=0.15, seed=2)
    for path in made.features("v1").glob("date=*/features.parquet"):
        rows = pq.read_table(path, partitioning=None)
        order = np.random.default_rng(3).permutation(len(rows))
        pq.write_table(rows.take([*order, order[0]]), path)
    spans = pq.read_table(made.labels).to_pylist()
    for number, each in enumerate(spans):
        if number % 5 == 0:
            each["provenance"] = "weak:app_id:com.apple.Notes"
    spans = [each for each in spans if each["user_id"] != "user-7"]
    write_labels(made, [*spans, weak(AS_OF - DAY, AS_OF - DAY + timedelta(hours=1), "Build", user="nobody")])
    return made
