"""The drift check: reads the reference and the last days, compares them, confirms, and writes report, telemetry, event and state.

Nothing is promoted here. The sensor `drift_report` reads the reports that confirm a drift, and requests a retrain for each.
"""

import re
from datetime import UTC, datetime, timedelta

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.windows import read_windows
from taskclf_dagster.domain.events.event import Event, EventPayload, pick_metrics
from taskclf_dagster.domain.events.outbox import write_event
from taskclf_dagster.domain.models.bundle import LoadedModel
from taskclf_dagster.domain.monitoring.drift_confirmation import DriftEvaluation, confirm, read_drift_state, save_drift_state
from taskclf_dagster.domain.monitoring.drift_inputs import compare_categories, compare_inputs
from taskclf_dagster.domain.monitoring.drift_predictions import PredictedSet, compare_predictions
from taskclf_dagster.domain.monitoring.drift_reference import Reference, read_reference
from taskclf_dagster.domain.monitoring.drift_report import DriftReport, to_taskclf
from taskclf_dagster.domain.monitoring.drift_stretches import find_drifted_stretches
from taskclf_dagster.domain.monitoring.drift_thresholds import draw_blocks
from taskclf_dagster.domain.monitoring.telemetry import append_telemetry, describe_days, describe_windows
from taskclf_dagster.domain.monitoring.window_sets import WindowSet
from taskclf_dagster.domain.registry.champion import resolve_active_model
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.storage.files import write_json
from taskclf_dagster.domain.storage.filesystem import file_system
from taskclf_dagster.domain.storage.signatures import NO_KEYS, Keys
from taskclf_dagster.errors import NoWindowsError, SnapshotError
from taskclf_dagster.home import Home
from taskclf_dagster.shown_text import counted

_REPORT_NAME = re.compile(r"(?:drift-)?(\d{4}-\d{2}-\d{2})\.json")


def run_drift_check(
    home: Home, *, config: RetrainConfig, as_of: datetime, num_threads: int, run_id: str | None = None, keys: Keys = NO_KEYS
) -> DriftReport:
    """Judges the days before a time, and writes what follows from it; the same time gives the same report again.

    Args:
        home: the taskclf home.
        config: the configuration.
        as_of: end of the judged days, with a time zone.
        num_threads: of LightGBM.
        run_id: the Dagster run, for the event.
        keys: with public keys, only a model of a signed record is active.

    Raises:
        UnreadableFileError: a daily file, the label store or the stored evaluations cannot be read.
        OSError: something cannot be written.
    """
    settings = config.drift
    champion = resolve_active_model(read_registry_state(home, keys))
    if champion.model is None:
        return DriftReport(as_of=as_of, days=settings.days, outcome="no_model", detail=f"There is no active model: {champion.reason}.")
    model = champion.model
    predicted, problem = _read_current(home, model, config=config, as_of=as_of, num_threads=num_threads)
    base = DriftReport(as_of=as_of, days=settings.days, outcome="too_few_windows", detail=problem, model_id=model.bundle.model_id)
    if predicted is None:
        return base
    append_telemetry(home, describe_days(predicted, model.schema, as_of=as_of))
    base = base.model_copy(update={"windows": len(predicted.windows), "telemetry": describe_windows(predicted, model.schema, as_of=as_of)})
    if problem:
        return base
    try:
        reference = read_reference(home, model)
    except SnapshotError as error:
        return base.model_copy(update={"outcome": "no_reference", "detail": f"There is no reference to compare with: {error}"})
    report = _judge(home, model, reference, predicted, base, config)
    return _conclude(home, model, report, config, run_id)


def _read_current(
    home: Home, model: LoadedModel, *, config: RetrainConfig, as_of: datetime, num_threads: int
) -> tuple[PredictedSet | None, str]:
    """Returns the windows of the last days with their predictions, None without windows; and why they cannot be judged, or ""."""
    settings = config.drift
    try:
        reading = read_windows(
            home,
            start=as_of - timedelta(days=settings.days),
            end=as_of,
            schema_version=model.schema.version,
            skip_unreadable_days=config.dataset.skip_unreadable_days,
        )
    except NoWindowsError as error:
        return None, str(error)
    if reading.frame is None or reading.frame.empty:
        broken = f": {reading.violations[0]}" if reading.violations else ""
        return None, f"The last {settings.days} days have no window that can be judged{broken}."
    probabilities = model.predict_rows(reading.frame, num_threads=num_threads)
    predicted = PredictedSet.of(WindowSet(reading.frame), probabilities, reject_threshold=model.reject_threshold)
    if len(reading.frame) < settings.min_windows:
        least = f"drift.min_windows is {settings.min_windows}"
        return predicted, f"The last {settings.days} days have {counted(len(reading.frame), 'window')}, and {least}."
    return predicted, ""


def _judge(
    home: Home, model: LoadedModel, reference: Reference, predicted: PredictedSet, base: DriftReport, config: RetrainConfig
) -> DriftReport:
    """Compares inputs, categories and predictions; confirms nothing."""
    settings = config.drift
    blocks = draw_blocks(reference.windows.days, predicted.windows.days, seed=reference.seed)
    inputs = compare_inputs(reference.windows, predicted.windows, blocks, schema=model.schema, settings=settings)
    vocabularies = {name: model.encoders[name] for name in model.schema.categorical}
    categories = compare_categories(reference.windows, predicted.windows, blocks, vocabularies=vocabularies, settings=settings)
    found = None
    if reference.predictions is not None:
        found = compare_predictions(reference.predictions, predicted, settings=settings, seed=reference.seed)
    drifted = [each for each in inputs if each.has_drifted or each.is_dead]
    return base.model_copy(
        update={
            "outcome": "judged",
            "dataset_hash": reference.dataset_hash,
            "reference_windows": len(reference.windows),
            "reference_days": reference.windows.days,
            "inputs": tuple(inputs),
            "categories": tuple(categories),
            "predictions": found,
            "drifted": tuple(each.name for each in drifted),
            "stretches": tuple(find_drifted_stretches(home, reference.windows, predicted, drifted)),
        }
    )


def _conclude(home: Home, model: LoadedModel, report: DriftReport, config: RetrainConfig, run_id: str | None) -> DriftReport:
    """Confirms a drift, and writes the reports, the event and, last, the state.

    A report of which the sensor knows already, or of a drift that was confirmed before, is not written for it again: one drift requests
    one retrain.
    """
    state, settings = read_drift_state(home), config.drift
    evaluation = DriftEvaluation(
        as_of=report.as_of,
        model=f"{report.model_id} {model.bundle.artifact_hash}",
        drifted=tuple(each.name for each in report.inputs if each.has_drifted),
        dead=tuple(each.name for each in report.inputs if each.is_dead),
    )
    evaluation, confirming = confirm(state, evaluation, settings=settings)
    report = report.model_copy(
        update={"confirmed": confirming, "confirmed_at": evaluation.confirmed_at, "detail": _describe(evaluation, confirming)}
    )
    document, same_day = to_taskclf(report), state.find_same_day(evaluation)
    write_json(home.drift_evaluations / f"{evaluation.day}.json", document)
    lasts = evaluation.confirmed_at is not None and not evaluation.is_new
    if report.alerts and not lasts and (same_day is None or same_day.as_of == report.as_of or not same_day.is_new):
        write_json(home.drift_reports / f"drift-{evaluation.day}.json", document)
    if evaluation.is_new:
        write_event(home, build_drift_event(report, run_id=run_id))
    save_drift_state(home, state.with_evaluation(evaluation))
    _remove_old_reports(home, report.as_of - timedelta(days=settings.keep_days))
    return report


def build_drift_event(report: DriftReport, *, run_id: str | None) -> Event:
    """Returns the event `drift.confirmed`; its id follows from the model and the day."""
    return Event(
        event_id=f"{report.model_id}-drift-{report.as_of.astimezone(UTC):%Y-%m-%d}".replace(".", "_"),
        event_type="drift.confirmed",
        occurred_at=report.as_of,
        run_id=run_id,
        payload=EventPayload(model_id=report.model_id, metrics=pick_metrics(None), reason=report.summary),
    )


def _describe(evaluation: DriftEvaluation, confirming: tuple[str, ...]) -> str:
    if evaluation.is_new:
        return f"Drift is confirmed on two days in a row, by {', '.join(confirming)}."
    if evaluation.confirmed_at is not None:
        return f"The drift lasts that was confirmed on {evaluation.confirmed_at:%Y-%m-%d %H:%M %Z}; it requests no further retrain."
    if evaluation.drifted or evaluation.dead:
        return "Drift is not confirmed: that takes enough inputs on two days in a row."
    return "No input has drifted."


def _remove_old_reports(home: Home, before: datetime) -> None:
    for folder in (home.drift_reports, home.drift_evaluations):
        for path in folder.iterdir() if folder.is_dir() else ():
            match = _REPORT_NAME.fullmatch(path.name)
            if match is not None and match[1] < f"{before.astimezone(UTC):%Y-%m-%d}":
                file_system().remove_file(path)
