"""Prints how the cost of a retrain grows with windows and users on one machine: CPU seconds, largest memory and bytes, one line a home.

The days of ten people of the demo generator are copied with jitter, so that large homes are made quickly. README.md explains the columns.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from measure import AS_OF, Meter, run_path
from run import CONFIG, DATA, ONE_THREAD
from tabulate import tabulate

from taskclf_dagster.demo import generator
from taskclf_dagster.domain.data.feature_schema import SCHEMAS, column_bounds

LAST_DAY, PEOPLE, WINDOWS_PER_USER_DAY = date(2026, 6, 30), 10, 335
JITTER, MAX_PEAK_GIB, JUDGED_AT = 0.05, 4.0, 10_000_000
COMPARED = "1000000:100"
EQUAL = ("dataset hash", "split", "test windows", "macro-F1", "weighted-F1", "gates", "verdict", "trees")
OF_THE_RECIPE = ("macro-F1", "weighted-F1", "trees")  # which two workers need not share with one process
SIZES = "10000:1,100000:10,1000000:100,1000000:10000"
HEADERS = [
    "windows",
    "users",
    "parts",
    "CPU s",
    "lightgbm.train",
    "/ train",
    "else / window [us]",
    "peak GiB",
    "in",
    "stored GiB",
    "workers' CPU s",
    "worker's peak GiB",
    "wall s",
]


def generate(windows: int, users: int) -> Path:
    """A home with exactly so many v1 windows of so many users, on as many days as that takes; made once."""
    folder = DATA / f"scale-{windows}-{users}"
    if (folder / "complete").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    people, days = min(users, PEOPLE), max(1, -(-windows // (users * WINDOWS_PER_USER_DAY)))
    source = DATA / f"people-{people}-{days}"
    if not (source / "complete").exists():
        shutil.rmtree(source, ignore_errors=True)
        generator.generate_demo_home(source, end=LAST_DAY, users=people, days=days)
        (source / "complete").touch()
    copies, left = -(-users // people), windows
    for path in sorted(source.glob("data/processed/features_v1/date=*/features.parquet"), reverse=True):
        table = _copy_day(pq.read_table(path, partitioning=None), copies, users, seed=int(path.parent.name[-2:]))
        table = table.slice(max(0, len(table) - left))
        left -= len(table)
        target = folder / path.relative_to(source)
        target.parent.mkdir(parents=True)
        pq.write_table(table, target)
        if left == 0:
            break
    labels = pq.read_table(source / "data/processed/labels_v1/labels.parquet")
    target = folder / "data/processed/labels_v1/labels.parquet"
    target.parent.mkdir(parents=True)
    pq.write_table(pa.concat_tables(_rename(labels, copy) for copy in range(copies)), target)
    if left:
        raise SystemExit(f"{folder} lacks {left:,} windows")
    (folder / "complete").touch()
    return folder


def _copy_day(day: pa.Table, copies: int, users: int, *, seed: int) -> pa.Table:
    """One day of all users in the order of time; the measurements of each copy are a little different."""
    generator, columns = np.random.default_rng(seed), SCHEMAS["v1"].columns
    whole = pa.concat_tables(_rename(day, copy) for copy in range(copies)).combine_chunks()
    known = pc.unique(whole["user_id"]).sort().slice(0, users)
    whole = whole.filter(pc.is_in(whole["user_id"], known))
    for position, name in enumerate(whole.column_names):
        if columns.get(name) == "float" and copies > 1:
            values = whole[name].to_numpy() * (1 + JITTER * generator.standard_normal(len(whole)))
            values = np.clip(values, *column_bounds(name))
            whole = whole.set_column(position, whole.field(position), pa.array(values, pa.float64(), from_pandas=True))
    return whole.sort_by([("bucket_start_ts", "ascending")])


def _rename(table: pa.Table, copy: int) -> pa.Table:
    """The rows of a copy of everyone; every copy has users of its own, and sessions of its own."""
    for name in {"user_id", "session_id"} & set(table.column_names):
        position = table.column_names.index(name)
        table = table.set_column(position, name, pc.binary_join_element_wise(table[name].cast(pa.string()), f"{copy:04d}", "-"))
    return table


def measure(place: Path) -> dict[str, Any]:
    """One retrain of a home without a model, from its windows to the new pointer, in this process."""
    import lightgbm

    from taskclf_dagster.config.loading import load_retrain_config
    from taskclf_dagster.domain.execution.engine_choice import open_engine
    from taskclf_dagster.home import Home

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    home, meter = Home(place / "home"), Meter()
    lightgbm.train = meter.timed(lightgbm.train, "train")
    lightgbm.Booster.predict = meter.timed(lightgbm.Booster.predict, "predict")
    base = meter_peak()
    begin = time.perf_counter()
    config = load_retrain_config(place / "config.yaml")
    with open_engine(config.execution, home) as engine:
        dataset, model, ours, _ = run_path(home, config, AS_OF, meter.step, engine)
    return {
        "dataset hash": dataset.dataset_hash,
        "split": dataset.rows,
        "test windows": ours.report.windows,
        "macro-F1": ours.report.macro_f1,
        "weighted-F1": ours.report.weighted_f1,
        "gates": {gate.name: gate.status for gate in ours.gates.gates},
        "verdict": "PROMOTE",  # else run_path has ended this process
        "trees": model.tree_hash[:16],
        "steps": meter.rows,
        "cpu": sum(row["cpu"] for row in meter.rows.values()),
        "train": meter.total("train"),
        "predict": meter.total("predict"),
        "peak": max(base, *(row["peak"] for row in meter.rows.values())) / 1024,
        "parts": len(dataset.parts),
        "stored": sum(path.stat().st_size for path in (home.root / "artifacts").rglob("*") if path.is_file()) / 2**30,
        "wall": time.perf_counter() - begin,
    }


def meter_peak() -> float:
    from measure import peak_memory

    return peak_memory()


def run(
    windows: int, users: int, *, rounds: int, parts: int | None, keep: Callable[[Path], object], workers: int | None = None
) -> dict[str, Any]:
    """Measures one home in a process of its own, and, if asked, on so many workers on this machine."""
    source, place = generate(windows, users), DATA / f"work-{windows}-{users}"
    shutil.rmtree(place, ignore_errors=True)
    (place / "home").mkdir(parents=True)
    (place / "home" / "data").symlink_to(source / "data")
    settings = f"{CONFIG}search_budget: 0\n".replace("num_threads: 1", f"num_threads: 1, num_boost_round: {rounds}")
    (place / "config.yaml").write_text(settings, encoding="utf-8")
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    command = [sys.executable, __file__, "--measure", str(place), *([] if parts is None else ["--part-windows", str(parts)])]
    with nullcontext() if workers is None else on_workers(workers, place / "config.yaml") as cluster:
        subprocess.run(command, check=True, env=environment)  # noqa: S603  # our own script
        used = {} if cluster is None else measure_workers(cluster)
    result: dict[str, Any] = {**json.loads((place / "result.json").read_text(encoding="utf-8")), **used}
    keep(place)
    return result


@contextmanager
def on_workers(number: int, config: Path) -> Iterator[Any]:
    """A cluster on this machine, named in a configuration."""
    from distributed import LocalCluster

    os.environ.update(ONE_THREAD, PYTHONPATH=str(Path(__file__).resolve().parent.parent))
    with LocalCluster(n_workers=number, threads_per_worker=1, dashboard_address=":0", memory_limit=0) as cluster:
        with config.open("a", encoding="utf-8") as file:
            file.write(f"execution: {{engine: dask, scheduler_address: '{cluster.scheduler_address}'}}\n")
        yield cluster


def measure_workers(cluster: Any) -> dict[str, float]:
    """CPU seconds of all workers with their trainings, and the largest memory of one of them without."""
    processes = [psutil.Process(worker.pid) for worker in cluster.workers.values()]
    times = [process.cpu_times() for process in processes]
    peaks = [Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8").partition("VmHWM:")[2].split()[0] for process in processes]
    return {
        "worker cpu": sum(each.user + each.system + each.children_user + each.children_system for each in times),
        "worker peak": max(map(int, peaks)) / 2**20,
    }


def compare(windows: int, users: int, *, rounds: int, keep: Callable[[Path], object]) -> None:
    """Runs one home in one part, in four, and on two workers, and prints what is equal; fails where something must be and is not."""
    few = windows // 4 + windows // users
    ways = {"one part": (None, None), "several parts": (few, None), "several parts, two workers": (few, 2)}
    found = {way: run(windows, users, rounds=rounds, parts=parts, keep=keep, workers=workers) for way, (parts, workers) in ways.items()}
    first = found["one part"]
    columns = ("dataset hash", "trees", "macro-F1", "parts", "cpu", "worker cpu", "peak", "worker peak")
    print(tabulate([[way, *(each.get(name) for name in columns)] for way, each in found.items()], headers=["", *columns], floatfmt=".4f"))
    missed = []
    for way, each in list(found.items())[1:]:
        same = [name for name in EQUAL if each[name] == first[name]]
        other = [name for name in EQUAL if name not in same]
        print(f"{way}: equal {', '.join(same)}; different {', '.join(other) or 'nothing'}")
        missed += [f"{name} of {way}" for name in other if ways[way][1] is None or name not in OF_THE_RECIPE]
    if missed:
        raise SystemExit(f"MISSED: different {', '.join(missed)}")


def show(windows: int, users: int, result: dict[str, Any]) -> list[object]:
    """One line of the table."""
    rest = result["cpu"] - result["train"] - result["predict"]
    largest = max(result["steps"], key=lambda name: result["steps"][name]["peak"])
    ratio = result["cpu"] / result["train"] if result["train"] else float("nan")  # workers train in processes of their own
    return [
        f"{windows:,}", users, result["parts"], result["cpu"], result["train"], ratio, rest / windows * 1e6, result["peak"], largest,
        result["stored"], result.get("worker cpu", 0.0), result.get("worker peak", 0.0), result["wall"],
    ]  # fmt: skip


def fit_exponents(results: list[tuple[int, dict[str, Any]]]) -> str:
    """The growth of figures with windows, fitted by least squares of the logarithms over all homes: x in (number of windows) ** x."""
    sizes = np.log([windows for windows, _ in results])
    if np.ptp(sizes) == 0:
        return ""
    names = [name for name in ("cpu", "train", "peak", "stored") if all(result[name] for _, result in results)]
    found = {name: np.polyfit(sizes, np.log([result[name] for _, result in results]), 1)[0] for name in names}
    return "fitted: " + ", ".join(f"{name} ** {value:.2f}" for name, value in found.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", default=SIZES, help="windows:users, separated by commas (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=20, help="rounds of each fit (default: %(default)s)")
    parser.add_argument("--part-windows", type=int, help="windows of a part, where there are several; default: as in a retrain")
    parser.add_argument("--workers", type=int, help="compute on so many workers of a cluster on this machine; default: in one process")
    parser.add_argument("--compare", nargs="?", const=COMPARED, help="one home in one part, four, and four on two workers (%(const)s)")
    parser.add_argument("--keep", action="store_true", help="keep the homes below benchmarks/.data")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure is not None:
        if chosen.part_windows is not None:
            from taskclf_dagster.domain.data import labeled_windows

            labeled_windows.store_labeled_windows.__kwdefaults__["part_windows"] = chosen.part_windows
        (chosen.measure / "result.json").write_text(json.dumps(measure(chosen.measure), indent=1), encoding="utf-8")
        return
    DATA.mkdir(exist_ok=True)
    keep = (lambda _: None) if chosen.keep else shutil.rmtree
    if chosen.compare:
        windows, users = map(int, chosen.compare.split(":"))
        compare(windows, users, rounds=chosen.rounds, keep=keep)
        return
    table, results = [], []
    for windows, users in ((int(n) for n in size.split(":")) for size in chosen.sizes.split(",")):
        result = run(windows, users, rounds=chosen.rounds, parts=chosen.part_windows, keep=keep, workers=chosen.workers)
        results.append((windows, result))
        table.append(show(windows, users, result))
        steps = [[name, row["cpu"], row["else"], row["peak"] / 1024] for name, row in result["steps"].items()]
        print(f"\n{windows:,} windows, {users:,} users")
        print(tabulate(steps, headers=["step", "CPU s", "not LightGBM's", "peak GiB"], floatfmt=".2f"), flush=True)
    print()
    print(tabulate(table, headers=HEADERS, floatfmt=".2f"))
    print(fit_exponents(results))
    for windows, result in results:
        if windows >= JUDGED_AT:
            judged = "met" if result["peak"] <= MAX_PEAK_GIB else "MISSED"
            print(f"peak memory at {windows:,} windows = {result['peak']:.2f} GiB (target <= {MAX_PEAK_GIB}): {judged}")


if __name__ == "__main__":
    main()
