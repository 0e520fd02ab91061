"""Measures one retrain in this process, for `run.py`: CPU seconds, those of them that are not LightGBM's, and peak memory, row by row.

The domain runs without Dagster, step by step in the order of the assets and checks; then its parts, the pictures and the real job.
"""

import argparse
import contextlib
import gc
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

AS_OF = datetime(2026, 7, 1, tzinfo=UTC)
EARLIER = AS_OF - timedelta(days=1)  # of the champion, so that the measured run meets new labels and writes a new snapshot
CHECK, FLOOR = "check: ", ("train", "predict")
Step = Callable[[str], contextlib.AbstractContextManager[None]]
Row = dict[str, float]


class Meter:
    """Figures by row, and the CPU seconds spent within wrapped functions."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.inside: dict[str, float] = {}
        self._in_check = False

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measures the body as one row; what a check predicts is not part of the floor."""
        self._in_check = name.startswith(CHECK)
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # forgets the peak memory so far
        floor, begin = self.total(*FLOOR), time.process_time()
        yield
        seconds = time.process_time() - begin
        self.rows[name] = {"cpu": seconds, "else": seconds - self.total(*FLOOR) + floor, "peak": peak_memory()}

    def total(self, *keys: str) -> float:
        return sum(self.inside.get(key, 0.0) for key in keys)

    def timed(self, function: Callable[..., Any], key: str) -> Callable[..., Any]:
        """The function, with its CPU seconds added up under the key."""

        def wrapper(*arguments: object, **named: object) -> object:
            begin = time.process_time()
            try:
                return function(*arguments, **named)
            finally:
                if not (self._in_check and key in FLOOR):
                    self.inside[key] = self.total(key) + time.process_time() - begin

        return wrapper


def peak_memory() -> float:
    """The largest resident memory [MiB] since it was last reset; getrusage would begin with that of the process that started this one."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def run_path(home: Any, config: Any, as_of: datetime, step: Step, engine: Any = None) -> tuple[Any, ...]:
    """One retrain without Dagster: the bodies of the assets and of the standalone checks, in the order in which the job runs them."""
    from taskclf_dagster import provenance
    from taskclf_dagster.domain.data import (
        labeled_windows,
        snapshot,
        snapshot_rows,
        split,
    )
    from taskclf_dagster.domain.decision.references import RunOptions
    from taskclf_dagster.domain.execution.local_engine import LOCAL
    from taskclf_dagster.domain.models import challenger as training
    from taskclf_dagster.domain.registry import health, promotion, state
    from taskclf_dagster.domain.retraining import decision_step, recomputation, reports, steps

    engine = engine or LOCAL
    with step("store_labeled_windows"):
        record = labeled_windows.store_labeled_windows(home, as_of=as_of, settings=config.dataset, engine=engine).record
    with step(CHECK + "labeled_windows_file"):
        labeled_windows.load_stored_keys(home, record)[0].duplicated().sum()
    with step("open_labeled_windows"):
        source = labeled_windows.open_labeled_windows(home, record)
    with step("build_snapshot"):
        dataset, rows = snapshot.build_snapshot_parts(home, record, source, config=config, engine=engine)
    with step("find_skip_reason"):
        reason = steps.find_skip_reason(home, rows, config)
    with step("save_snapshot"):
        dataset = snapshot.save_snapshot(home, dataset, rows, engine=engine)
    del source, rows
    folder = home.root / dataset.path
    with step(CHECK + "dataset_snapshot_file"):
        stored = snapshot_rows.open_snapshot_rows(folder)
        stored.digest()
        split.find_split_overlaps(stored.load(columns=snapshot_rows.ABOUT_ROWS))
        del stored
    with step("build_challenger"):
        names = {"code_version": provenance.code_version(), "library_versions": provenance.library_versions()}
        ears = {"stopwatch": time.perf_counter, "on_progress": lambda _: None}
        model = training.build_challenger(home, dataset, config=config, earlier=None, cores=1, engine=engine, **names, **ears)
    with step("report_challenger"):
        ours = reports.report_challenger(home, dataset, model, config=config, num_threads=1, engine=engine)
    with step("report_champion"):
        theirs = reports.report_champion(home, dataset, config=config, num_threads=1)
    with step("make_decision"):
        options = RunOptions(dry_run=False, forced=False, bootstrap=False)
        decision = decision_step.make_decision(
            home, dataset, model, ours, theirs, config=config, options=options, code_version=provenance.code_version()
        )
        steps.remember_decision(home, decision, run_id="benchmark", at=as_of)
    if decision.verdict != "PROMOTE" or reason is not None:
        raise SystemExit(f"The benchmark needs a promotion, but got {decision.verdict}: {reason or decision.reason}")
    with step("recompute_decision"):
        findings = recomputation.recompute_decision(state.read_registry_state(home), decision, cores=1)
    with step("promote"):
        promotion.promote(home, decision, recompute=lambda *_: findings, at=as_of)
    with step(CHECK + "pointer_and_history"):
        registry = state.read_registry_state(home)
        health.find_pointer_problem(registry)
        health.find_history_disagreement(registry)
    return dataset, model, ours, theirs


def run_parts(home: Any, config: Any, dataset: Any, model: Any, meter: Meter) -> None:
    """Parts of the path on their own, on the same data; the steps above contain them."""
    from taskclf_dagster.domain.data import (
        feature_schema,
        hashing,
        label_projection,
        label_store,
        labeled_windows,
        snapshot_rows,
        split,
        windows,
    )
    from taskclf_dagster.domain.evaluation import metrics
    from taskclf_dagster.domain.models import bundle_paths, encoding
    from taskclf_dagster.domain.models.bundle import load_bundle

    start, schema = AS_OF - timedelta(days=config.dataset.data_lookback_days), feature_schema.SCHEMAS["v1"]
    with meter.step("part: read"):
        frame = windows.read_windows(home, start=start, end=AS_OF, schema_version="auto", skip_unreadable_days=False).frame
    spans = label_store.read_label_spans(home, start=start, end=AS_OF).spans
    with meter.step("part: projection"):
        labeled_windows = label_projection.project_blocks_to_windows(frame, spans)
    chosen = labeled_windows.label >= 0
    frame = frame[chosen].reset_index(drop=True).assign(gold=labeled_windows.gold[chosen], span=labeled_windows.span[chosen])
    with meter.step("part: split"):
        split.split_by_time(frame)
    del frame, labeled_windows, spans
    folder = home.root / dataset.path
    rows = snapshot_rows.read_snapshot_rows(folder)
    with meter.step("part: hash"):
        hashing.frame_digest(rows)
    rows = snapshot_rows.read_snapshot_rows(folder, splits=("train",))
    with meter.step("part: encode (train)"):
        encoders = encoding.fit_encoders(rows, schema, min_count=5)
        encoding.encode_inputs(rows, schema, encoders)
    rows = snapshot_rows.read_snapshot_rows(folder, splits=("test",))
    probabilities = load_bundle(bundle_paths.require_bundle(home, model.model_id)).predict_rows(rows, num_threads=1)
    true = snapshot_rows.label_codes(rows).astype("int64")
    names = {"model_id": model.model_id, "schema_version": "v1", "unseen_users": []}
    with meter.step("part: evaluate (test)"):
        metrics.evaluate(rows, true, probabilities, reject_threshold=0.5, min_class_windows=30, **names)


def draw_pictures(dataset: Any, model: Any, *reports: Any) -> None:
    from taskclf_dagster.defs.display import model_metadata, pictures

    model_metadata.challenger_metadata(model, dataset)
    for report in reports:
        pictures.confusion_picture(report.report)
        pictures.calibration_picture(report.report)


def run_job(home: Any, config_path: Path, meter: Meter) -> None:
    """The real job in this process; what its assets and checks spend in the domain and on pictures is set apart."""
    import dagster as dg  # noqa: TID251  # Dagster's own time is what is measured here
    import pandas as pd

    from taskclf_dagster.definitions import build_definitions
    from taskclf_dagster.defs.jobs.retrain import RetrainParams, run_retrain_pipeline
    from taskclf_dagster.defs.resources.inputs import HomeResource

    @dg.logger(config_schema={"log_level": str})
    def silent(_: dg.InitLoggerContext) -> logging.Logger:
        logger = logging.getLogger("benchmark.silent")
        logger.disabled = True
        return logger

    pictures = ("confusion_picture", "calibration_picture", "importance_picture", "interval_picture", "learning_curve_picture")
    found: list[tuple[Any, str, Any, str]] = [(pd.DataFrame, "duplicated", pd.DataFrame.duplicated, "domain")]
    for module in [module for name, module in sys.modules.items() if name.startswith("taskclf_dagster.defs.") and "record_io" not in name]:
        for name, value in vars(module).items():
            of_domain = callable(value) and not isinstance(value, type) and value.__module__.startswith("taskclf_dagster.domain.")
            if of_domain or name in pictures:
                found.append((module, name, value, "pictures" if name in pictures else "domain"))
    definitions = build_definitions(home=HomeResource(root=str(home.root)), loggers={"console": silent})
    params = RetrainParams(force=True, as_of=AS_OF.isoformat(), config_path=str(config_path))
    with contextlib.ExitStack() as undo, dg.DagsterInstance.ephemeral() as instance:
        for place, name, function, key in found:
            undo.callback(setattr, place, name, function)
            setattr(place, name, meter.timed(function, key))
        with meter.step("job"):
            result = run_retrain_pipeline(definitions, params, instance=instance)
    if not result.success:
        raise SystemExit(result.reason)


def measure(place: Path) -> dict[str, Row]:
    """Everything that one table shows: after the imports and a warm-up on a small home, the path, then the rest."""
    import lightgbm
    import matplotlib.figure  # noqa: F401
    import pyarrow as pa

    from taskclf_dagster import definitions  # noqa: F401
    from taskclf_dagster.config.loading import load_retrain_config
    from taskclf_dagster.home import Home

    imports = {"cpu": time.process_time(), "peak": peak_memory()}
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    warm, meter = Meter(), Meter()
    home, small, config_path = Home(place / "home"), Home(place / "warm-up"), place / "config.yaml"
    config = load_retrain_config(config_path)
    draw_pictures(*run_path(small, config, AS_OF, warm.step))
    run_job(small, config_path, warm)
    gc.collect()

    lightgbm.train = meter.timed(lightgbm.train, "train")
    lightgbm.Booster.predict = meter.timed(lightgbm.Booster.predict, "predict")
    dataset, *records = run_path(home, config, AS_OF, meter.step)
    path, train, floor = meter.rows, meter.total("train"), meter.total(*FLOOR)
    whole = {key: combine(row[key] for row in path.values()) for key, combine in (("cpu", sum), ("else", sum), ("peak", max))}
    sums = {"END TO END": whole, "lightgbm.train": {"cpu": train}, "Booster.predict": {"cpu": floor - train}}
    sums |= {"FLOOR": {"cpu": floor}, "EVERYTHING ELSE": {"cpu": whole["else"]}}
    meter.rows = {}
    run_parts(home, config, dataset, records[0], meter)
    with meter.step("plots"):
        draw_pictures(dataset, *records)
    run_job(home, config_path, meter)
    job = meter.rows.pop("job")
    own = {"cpu": job["cpu"] - meter.total("domain", "pictures"), "peak": job["peak"]}
    return {**path, **sums, **meter.rows, "Dagster's own": own, "imports": imports}


def main() -> None:
    parser = argparse.ArgumentParser(description="Called by run.py.")
    parser.add_argument("task", choices=("champion", "measure"))
    parser.add_argument("place", type=Path)
    chosen = parser.parse_args()
    if chosen.task == "measure":
        (chosen.place / "result.json").write_text(json.dumps(measure(chosen.place), indent=1), encoding="utf-8")
        return
    from taskclf_dagster.config.loading import load_retrain_config
    from taskclf_dagster.home import Home

    for name in ("home", "warm-up"):
        config = load_retrain_config(chosen.place / "config.yaml")
        run_path(Home(chosen.place / name), config, EARLIER, lambda _: contextlib.nullcontext())


if __name__ == "__main__":
    main()
