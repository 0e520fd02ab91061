"""Prints what a retrain costs on generated data, in CPU seconds and memory, beside what LightGBM itself takes: one table a size.

Makes the data and the tables; `measure.py` measures. README.md explains the rows.
"""

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
from tabulate import tabulate

from taskclf_dagster.demo import generator

HERE = Path(__file__).resolve().parent
DATA = HERE / ".data"
GENERATOR = sorted(Path(generator.__file__).parent.glob("*.py"))
LAST_DAY, DAYS, WINDOWS_PER_USER, WARM_UP_WINDOWS = date(2026, 6, 30), 30, 10_000, 5_000
MAX_ELSE_PER_FLOOR, MAX_PEAK_GIB, JUDGED_FROM = 0.25, 1.5, 100_000
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
# Gates are computed as always but cannot fail: what is measured must not depend on how good a model is.
CONFIG = """\
auto_promote: true
prove_reproducible: false
regression_tolerance: 1.0
clearly_worse_margin: 1.0
max_negative_flips: 1.0
max_flip_excess: 1.0
train_params: {num_threads: 1}
require_baseline_improvement: false
gates: {min_macro_f1: 0, min_weighted_f1: 0, min_breakidle_precision: 0, min_breakidle_recall: 0, min_class_precision: 0,
        min_reject_rate: 0, max_reject_rate: 1, min_seen_user_f1: 0, min_unseen_user_f1: 0}
"""
Rows = dict[str, dict[str, float]]


def generate(windows: int) -> Path:
    """A home with exactly so many v1 windows in 30 days, made once for each version of the generator.

    The generator makes somewhat more; the oldest are cut off.
    """
    source = hashlib.sha256(b"".join(path.read_bytes() for path in GENERATOR)).hexdigest()
    folder, complete = DATA / f"home-{windows}", DATA / f"home-{windows}" / "complete"
    if complete.exists() and complete.read_text(encoding="utf-8") == source:
        return folder
    users, surplus = max(1, windows // WINDOWS_PER_USER), -1
    while surplus < 0:
        shutil.rmtree(folder, ignore_errors=True)
        surplus = generator.generate_demo_home(folder, end=LAST_DAY, users=users, days=DAYS).windows - windows
        users += 1
    for path in sorted(folder.glob("data/processed/features_v1/date=*/features.parquet")):
        table = pq.read_table(path, partitioning=None)
        if surplus >= len(table):
            shutil.rmtree(path.parent)
        elif surplus > 0:
            pq.write_table(table.slice(surplus), path)
        surplus = max(0, surplus - len(table))
    complete.write_text(source, encoding="utf-8")
    return folder


def measure(windows: int, place: Path) -> Rows:
    """One run on a fresh home with a champion, in processes of its own."""
    for name, size in (("home", windows), ("warm-up", WARM_UP_WINDOWS)):
        (place / name).mkdir(parents=True)
        (place / name / "data").symlink_to(generate(size) / "data")
    (place / "config.yaml").write_text(CONFIG, encoding="utf-8")
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(HERE.parent)}
    for task in ("champion", "measure"):
        subprocess.run([sys.executable, HERE / "measure.py", task, place], check=True, env=environment)  # noqa: S603  # our own script
    return dict(json.loads((place / "result.json").read_text(encoding="utf-8")))


def combine(results: list[Rows]) -> Rows:
    """The median of CPU seconds and the largest memory of several runs."""
    by = {"cpu": statistics.median, "else": statistics.median, "peak": max}
    return {name: {key: by[key]([rows[name][key] for rows in results]) for key in row} for name, row in results[0].items()}


def show(windows: int, rows: Rows) -> None:
    train, floor = rows["lightgbm.train"]["cpu"], rows["FLOOR"]["cpu"]
    table = [[name, row["cpu"], row.get("else"), row["cpu"] / train, row.get("peak")] for name, row in rows.items()]
    print(f"\n{windows:,} windows")
    headers = ["row", "CPU s", "not LightGBM's", "/ lightgbm.train", "peak MiB"]
    print(tabulate(table, headers=headers, floatfmt=("", ".3f", ".3f", ".3f", ".0f"), missingval="-"))
    ratio, peak = rows["EVERYTHING ELSE"]["cpu"] / floor, max(rows[name]["peak"] for name in ("END TO END", "Dagster's own")) / 1024
    judged = "met" if ratio <= MAX_ELSE_PER_FLOOR else "MISSED"
    print(f"else / floor = {ratio:.3f} (target <= {MAX_ELSE_PER_FLOOR} from {JUDGED_FROM:,} windows): ", end="")
    print(judged if windows >= JUDGED_FROM else "not judged")
    print(f"peak memory = {peak:.2f} GiB (target < {MAX_PEAK_GIB}): {'met' if peak < MAX_PEAK_GIB else 'MISSED'}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--windows", default="14400,100000,1000000", help="sizes, separated by commas (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=1, help="runs a size; CPU seconds are medians, memory the largest (default: 1)")
    parser.add_argument("--keep", type=Path, help="a new folder in which the homes and the raw figures of all runs stay")
    chosen = parser.parse_args()
    DATA.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=DATA, prefix="work-") as scratch:
        for windows in (int(text) for text in chosen.windows.split(",")):
            results = []
            for run in range(chosen.runs):
                place = (chosen.keep or Path(scratch)) / f"{windows}-{run}"
                results.append(measure(windows, place.absolute()))
                if chosen.keep is None:
                    shutil.rmtree(place)
            show(windows, combine(results))


if __name__ == "__main__":
    main()
