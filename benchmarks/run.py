"""Measures CPU seconds and peak memory of a retrain on generated data, beside the time LightGBM itself takes: one table a size.

The domain path runs step by step in the order of the assets and checks, in a warm process, with one thread. What `lightgbm.train` and
`Booster.predict` take within it is the floor; the targets are about everything else. README.md explains the rows.
"""

import argparse
import gc
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parent / ".data"
LAST_DAY = date(2026, 6, 30)
AS_OF = datetime(2026, 7, 1, tzinfo=UTC)
EARLIER = AS_OF - timedelta(days=1)  # of the champion, so that the measured run meets new labels and writes a new snapshot
DAYS, WINDOWS_PER_USER, WARM_UP_WINDOWS = 30, 10_000, 5_000
MAX_ELSE_PER_FLOOR, MAX_PEAK_GIB, JUDGED_FROM = 0.25, 1.5, 100_000
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
# Gates are computed as always but cannot fail: speed must not depend on how good a model is.
CONFIG = """{auto_promote: true, train_params: {num_threads: 1}, regression_tolerance: 1.0, require_baseline_improvement: false, gates: {
min_macro_f1: 0, min_weighted_f1: 0, min_breakidle_precision: 0, min_breakidle_recall: 0, min_class_precision: 0, min_reject_rate: 0,
max_reject_rate: 1, min_seen_user_f1: 0, min_unseen_user_f1: 0}}"""

Step = Callable[[str], AbstractContextManager[None]]


class Meter:
    """CPU seconds, seconds within LightGBM and peak memory by row; Booster.predict of a check does not belong to the floor."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, float]] = {}
        self.inside: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        before = dict(self.inside)
        reset_peak_memory()
        begin = time.process_time()
        yield
        seconds = time.process_time() - begin
        floor = 0.0 if name.startswith("check") else self.total("train", "predict") - sum(before.get(k, 0) for k in ("train", "predict"))
        self.rows[name] = {"cpu": seconds, "else": seconds - floor, "peak": peak_memory()}
        if name.startswith("check"):
            self.inside |= {key: before.get(key, 0.0) for key in ("train", "predict")}

    def total(self, *keys: str) -> float:
        return sum(self.inside.get(key, 0.0) for key in keys)

    def timed(self, function: Callable[..., Any], key: str) -> Callable[..., Any]:
        def wrapper(*arguments: object, **named: object) -> object:
            begin = time.process_time()
            try:
                return function(*arguments, **named)
            finally:
                self.inside[key] = self.total(key) + time.process_time() - begin

        return wrapper


def run_path(home: Any, config: Any, as_of: datetime, step: Step) -> tuple[Any, ...]:
    """One retrain without Dagster: the bodies of the assets and of the standalone checks, in the order in which the job runs them."""
    from taskclf_dagster import provenance
    from taskclf_dagster.domain import challenger as training
    from taskclf_dagster.domain import hashing, labeled, pipeline, registry, reports, snapshot, split

    with step("label_windows"):
        record, frame = labeled.label_windows(home, as_of=as_of, config=config)
    with step("save_labeled_windows"):
        record = labeled.save_labeled_windows(home, record, frame)
    del frame
    with step("check: keys_are_unique"):
        labeled.load_labeled_windows(home, record, columns=["user_id", "bucket_start_ts"]).duplicated().sum()
    with step("check: no_raw_columns"):
        _ = [name for name in labeled.load_labeled_windows(home, record).columns if name.startswith("raw_")]
    with step("load_labeled_windows"):
        frame = labeled.load_labeled_windows(home, record)
    with step("build_snapshot"):
        dataset, rows = snapshot.build_snapshot(home, record, frame, config=config)
    with step("find_skip_reason"):
        reason = pipeline.find_skip_reason(home, rows)
    with step("save_snapshot"):
        snapshot.save_snapshot(home, dataset, rows)
    del frame, rows
    with step("check: hash_matches_contents"):
        hashing.frame_digest(snapshot.read_snapshot_rows(home.root / dataset.path))
    with step("check: splits_are_disjoint"):
        columns = ["user_id", "bucket_start_ts", "split"]
        split.find_split_overlaps(snapshot.read_snapshot_rows(home.root / dataset.path, columns=columns))
    version, libraries = provenance.code_version(), provenance.library_versions()
    with step("build_challenger"):
        names = {"code_version": version, "library_versions": libraries, "stopwatch": time.perf_counter, "on_progress": lambda _: None}
        model = training.build_challenger(home, dataset, config=config, cores=1, **names)
    with step("check: reload_and_probe"):
        training.reload_and_probe(home, dataset, model)
    with step("report_challenger"):
        ours = reports.report_challenger(home, dataset, model, config=config, num_threads=1)
    with step("report_champion"):
        theirs = reports.report_champion(home, dataset, config=config, num_threads=1)
    with step("make_decision"):
        launch = {"dry_run": False, "forced": False, "bootstrap": False, "code_version": version}
        decision = pipeline.make_decision(home, dataset, model, ours, theirs, config=config, **launch)
        pipeline.remember_decision(home, decision, run_id="benchmark", at=as_of)
    if decision.verdict != "PROMOTE" or reason is not None:
        message = f"the benchmark needs a promotion, but got {reason or decision.verdict}: {decision.reason}"
        raise SystemExit(message)
    with step("promote"):
        registry.promote(home, decision, at=as_of)
    with step("check: pointer_and_history"):
        registry.find_pointer_problem(home)
        registry.find_history_disagreement(home)
    return dataset, model, ours, theirs


def run_parts(home: Any, config: Any, dataset: Any, model: Any, meter: Meter) -> None:
    """The parts named by the requirement on their own, on the data of the path; they are contained in its steps."""
    from taskclf_dagster.domain import encoding, evaluation, features, hashing, labels, projection, registry, snapshot, split, windows
    from taskclf_dagster.domain.bundle import load_bundle

    start, schema = AS_OF - timedelta(days=config.data_lookback_days), features.SCHEMAS["v1"]
    with meter.step("part: read"):
        frame = windows.read_windows(home, start=start, end=AS_OF, schema_version="auto", skip_unreadable_days=False).frame
    spans = labels.read_label_spans(home, start=start, end=AS_OF).spans
    with meter.step("part: projection"):
        labeled = projection.project_blocks_to_windows(frame, spans)
    chosen = labeled.label >= 0
    frame = frame[chosen].reset_index(drop=True).assign(gold=labeled.gold[chosen], span=labeled.span[chosen])
    with meter.step("part: split"):
        split.split_by_time(frame)
    del frame, labeled
    folder = home.root / dataset.path
    rows = snapshot.read_snapshot_rows(folder)
    with meter.step("part: hash"):
        hashing.frame_digest(rows)
    rows = snapshot.read_snapshot_rows(folder, splits=("train",))
    with meter.step("part: encode (train)"):
        encoders = encoding.fit_encoders(rows, schema, min_count=5)
        encoding.encode_inputs(rows, schema, encoders)
    rows = snapshot.read_snapshot_rows(folder, splits=("test",))
    probabilities = load_bundle(registry.require_bundle(home, model.model_id)).predict_rows(rows, num_threads=1)
    true = snapshot.label_codes(rows).astype("int64")
    names = {"model_id": model.model_id, "schema_version": "v1", "unseen_users": []}
    with meter.step("part: evaluate (test)"):
        evaluation.evaluate(rows, true, probabilities, reject_threshold=0.5, min_class_windows=30, **names)


def run_job(home: Any, config_path: Path, meter: Meter) -> None:
    """The real job in this process; what its assets and checks spend in the domain and on pictures is set apart."""
    import logging

    import dagster as dg  # noqa: TID251  # Dagster's own time is what is measured here
    import pandas as pd

    from taskclf_dagster.definitions import build_definitions
    from taskclf_dagster.defs.jobs import RetrainParams, run_retrain_pipeline
    from taskclf_dagster.defs.resources import HomeResource

    @dg.logger(config_schema={"log_level": str})
    def silent(_: dg.InitLoggerContext) -> logging.Logger:
        logger = logging.getLogger("benchmark.silent")
        logger.disabled = True
        return logger

    domain, pictures = "taskclf_dagster.domain.", ("confusion_picture", "calibration_picture", "_importance_picture")
    places = [(m, n, f) for m in list(sys.modules.values()) if m.__name__.startswith("taskclf_dagster.defs.") for n, f in vars(m).items()]
    places = [p for p in places if callable(p[2]) and not isinstance(p[2], type) and not p[0].__name__.endswith("record_io")]
    wrapped = [(m, n, f, "domain") for m, n, f in places if str(getattr(f, "__module__", "")).startswith(domain)]
    wrapped += [(m, n, f, "pictures") for m, n, f in places if n in pictures]
    wrapped.append((pd.DataFrame, "duplicated", pd.DataFrame.duplicated, "domain"))
    for place, name, function, key in wrapped:
        setattr(place, name, meter.timed(function, key))
    meter.inside |= {"domain": 0.0, "pictures": 0.0}
    try:
        definitions = build_definitions(home=HomeResource(root=str(home.root)), loggers={"console": silent})
        params = RetrainParams(force=True, as_of=AS_OF.isoformat(), config_path=str(config_path))
        with dg.DagsterInstance.ephemeral() as instance, meter.step("job"):
            result = run_retrain_pipeline(definitions, params, instance=instance)
    finally:
        for place, name, function, _ in wrapped:
            setattr(place, name, function)
    if not result.success:
        raise SystemExit(result.reason)


def measure(work: Path, warm_up: Path, config_path: Path) -> dict[str, dict[str, float]]:
    """Everything that one table shows, in this process."""
    start_up = time.process_time()
    import lightgbm
    import matplotlib.figure  # noqa: F401
    import pyarrow as pa

    from taskclf_dagster import definitions  # noqa: F401
    from taskclf_dagster.defs import metadata
    from taskclf_dagster.home import Home
    from taskclf_dagster.settings import load_retrain_config

    imports = {"cpu": time.process_time() - start_up, "peak": peak_memory()}
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    config = load_retrain_config(config_path)
    warm, meter = Meter(), Meter()
    _, model, ours, theirs = run_path(Home(warm_up), config, AS_OF, warm.step)
    draw_pictures(metadata, model, ours, theirs)
    run_job(Home(warm_up), config_path, warm)
    gc.collect()
    base = {"cpu": time.process_time() - start_up - imports["cpu"], "peak": resident_memory()}

    train, predict = lightgbm.train, lightgbm.Booster.predict
    lightgbm.train, lightgbm.Booster.predict = meter.timed(train, "train"), meter.timed(predict, "predict")
    home = Home(work)
    dataset, model, ours, theirs = run_path(home, config, AS_OF, meter.step)
    path = dict(meter.rows)
    whole = {key: sum(row[key] for row in path.values()) for key in ("cpu", "else")} | {"peak": max(row["peak"] for row in path.values())}
    floor = meter.total("train", "predict")
    rows = {**path, "END TO END": whole, "lightgbm.train": {"cpu": meter.total("train")}, "Booster.predict": {"cpu": meter.total("predict")}}
    rows |= {"FLOOR (train + predict)": {"cpu": floor}, "EVERYTHING ELSE": {"cpu": whole["else"], "else": whole["else"]}}
    meter.rows = {}
    run_parts(home, config, dataset, model, meter)
    with meter.step("plots"):
        draw_pictures(metadata, model, ours, theirs)
    run_job(home, config_path, meter)
    job = meter.rows.pop("job")
    dagsters_own = {"cpu": job["cpu"] - meter.total("domain", "pictures"), "peak": job["peak"]}
    return {**rows, **meter.rows, "Dagster's own": dagsters_own, "imports": imports, "warm-up (memory: start of the path)": base}


def draw_pictures(metadata: Any, model: Any, *reports: Any) -> None:
    metadata.training_metadata(model)
    for report in reports:
        metadata.confusion_picture(report.report)
        metadata.calibration_picture(report.report)


def resident_memory(field: str = "VmRSS") -> float:
    """Resident memory of this process [MiB], or the largest it was (VmHWM)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def peak_memory() -> float:
    return resident_memory("VmHWM")


def reset_peak_memory() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def generate(windows: int) -> Path:
    """A home with exactly so many v1 windows of the last 30 days, made once; the oldest windows are cut off where there are more."""
    import pyarrow.parquet as pq

    from taskclf_dagster.demo import generate_demo_home

    folder = DATA / f"home-{windows}"
    if (folder / "complete").exists():
        return folder
    users, surplus = max(1, windows // WINDOWS_PER_USER), -1
    while surplus < 0:
        shutil.rmtree(folder, ignore_errors=True)
        surplus = generate_demo_home(folder, end=LAST_DAY, users=users, days=DAYS).windows - windows
        users += 1
    for path in sorted(folder.glob("data/processed/features_v1/date=*/features.parquet")):
        table = pq.read_table(path, partitioning=None)
        shutil.rmtree(path.parent) if surplus >= len(table) else pq.write_table(table.slice(surplus), path)
        surplus -= min(surplus, len(table))
    (folder / "complete").touch()
    return folder


def measure_size(windows: int, runs: int, keep: Path | None) -> dict[str, dict[str, float]]:
    """The median of CPU seconds and the largest memory of some runs, each in processes of its own on a fresh home."""
    results = []
    for number in range(runs):
        place = Path(tempfile.mkdtemp(prefix="work-", dir=DATA)) if keep is None else keep / f"{windows}-{number}"
        for name, size in (("home", windows), ("warm-up", WARM_UP_WINDOWS)):
            (place / name).mkdir(parents=True)
            (place / name / "data").symlink_to(generate(size) / "data")
        (place / "config.yaml").write_text(CONFIG, encoding="utf-8")
        for task in ("champion", "measure"):
            command = [sys.executable, __file__, "--task", task, "--place", str(place)]
            environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(DATA.parent.parent)}
            subprocess.run(command, check=True, env=environment)  # noqa: S603  # this very script
        results.append(json.loads((place / "result.json").read_text(encoding="utf-8")))
        if keep is None:
            shutil.rmtree(place)
    combine = {"cpu": statistics.median, "else": statistics.median, "peak": max}
    return {row: {key: combine[key]([r[row][key] for r in results]) for key in results[0][row]} for row in results[0]}


def show(windows: int, rows: dict[str, dict[str, float]]) -> None:
    from tabulate import tabulate

    train, floor = rows["lightgbm.train"]["cpu"], rows["FLOOR (train + predict)"]["cpu"]
    table = [[name, row["cpu"], row.get("else"), row["cpu"] / train, row.get("peak")] for name, row in rows.items()]
    headers = ["row", "CPU s", "of it not LightGBM", "/ lightgbm.train", "peak MiB"]
    print(f"\n{windows:,} windows")
    print(tabulate(table, headers=headers, floatfmt=("", ".3f", ".3f", ".3f", ".0f"), missingval="-"))
    ratio, peak = rows["EVERYTHING ELSE"]["cpu"] / floor, rows["END TO END"]["peak"] / 1024
    verdicts = ["met" if ratio <= MAX_ELSE_PER_FLOOR else "MISSED", "met" if peak < MAX_PEAK_GIB else "MISSED"]
    judged = "" if windows >= JUDGED_FROM else f"; the first target holds from {JUDGED_FROM:,} windows"
    print(f"else / floor = {ratio:.3f} (target <= {MAX_ELSE_PER_FLOOR}): {verdicts[0]}{judged}")
    print(f"peak memory = {peak:.2f} GiB (target < {MAX_PEAK_GIB}): {verdicts[1]}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--windows", default="14400,100000,1000000", help="sizes, separated by commas (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=1, help="runs a size; CPU seconds are medians, memory the largest")
    parser.add_argument("--keep", type=Path, help="a new folder in which the homes and raw figures of every run stay")
    parser.add_argument("--task", choices=("champion", "measure"), help=argparse.SUPPRESS)
    parser.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.task == "measure":
        rows = measure(chosen.place / "home", chosen.place / "warm-up", chosen.place / "config.yaml")
        (chosen.place / "result.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    elif chosen.task == "champion":
        from taskclf_dagster.home import Home
        from taskclf_dagster.settings import load_retrain_config

        config = load_retrain_config(chosen.place / "config.yaml")
        for home in (Home(chosen.place / "home"), Home(chosen.place / "warm-up")):
            run_path(home, config, EARLIER, lambda _: nullcontext())
    else:
        DATA.mkdir(exist_ok=True)
        for windows in (int(text) for text in chosen.windows.split(",")):
            show(windows, measure_size(windows, chosen.runs, chosen.keep))


if __name__ == "__main__":
    main()
