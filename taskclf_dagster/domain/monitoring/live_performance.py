"""Measures how models do on labels that arrive after they scored the windows, and whether the active one performs clearly worse.

Figures follow from the scores on disk, the label store and the as-of time; no model is loaded. Scores are read in `score_files`, joined
with labels in `live_windows`, summed in `live_figures`, compared in `performance_bars`.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Literal

import pandas as pd

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.feature_schema import WINDOW_SECONDS
from taskclf_dagster.domain.data.label_store import read_usable_spans
from taskclf_dagster.domain.evaluation.performance_drops import PerformanceDrop, read_performance_drop, write_performance_drop
from taskclf_dagster.domain.events.event import Event, EventPayload, pick_metrics
from taskclf_dagster.domain.events.outbox import write_event
from taskclf_dagster.domain.monitoring.live_figures import LiveModel, summarize_model
from taskclf_dagster.domain.monitoring.live_windows import is_labeled, join_labels, may_have_learned
from taskclf_dagster.domain.monitoring.performance_bars import PerformanceBar, check_bars
from taskclf_dagster.domain.monitoring.score_files import ScoreReading, read_scores
from taskclf_dagster.domain.registry.active_model import find_trusted_model
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.domain.storage.signatures import NO_KEYS, Keys
from taskclf_dagster.home import Home
from taskclf_dagster.shown_text import counted


class LivePerformance(Record):
    """Figures of every model that scored a window of the last days, and the comparison of the active one with its bars.

    Attributes:
        state: no_scores if no window of these days was scored; no_labels if none of them has a gold label yet.
        first_day, last_day: in UTC, both inclusive.
        days: the days with scores.
        damaged_days: the days whose scores could not be read, with the reason.
        models: those that scored, in the order of their first window.
        active_model_id: None if no model can run.
        bars: of the active model; empty if it scored no window.
        dropped: True if a bar is missed.
        summary: one or two sentences.
    """

    home: str
    as_of: datetime
    state: Literal["ok", "no_scores", "no_labels"]
    first_day: date
    last_day: date
    days: list[date]
    damaged_days: dict[date, str]
    models: list[LiveModel]
    active_model_id: str | None
    bars: list[PerformanceBar]
    dropped: bool
    summary: str

    @property
    def active(self) -> LiveModel | None:
        """The figures of the active model; None if it scored no window of these days."""
        return next((model for model in self.models if model.model_id == self.active_model_id), None)


def measure_live_performance(home: Home, *, as_of: datetime, config: RetrainConfig, keys: Keys = NO_KEYS) -> LivePerformance:
    """Measures the last `live_days` UTC days up to the as-of time; reads only. With public keys, only a model of a signed record is active.

    Raises:
        HomeNotFoundError: there is no such home.
        LabelColumnsError: the columns of the label store are damaged.
        UnreadableFileError: the label store cannot be read.
    """
    home.require()
    last = as_of.astimezone(UTC).date()
    days = [last - timedelta(days=number) for number in reversed(range(config.live.live_days))]
    reading = read_scores(home, days)
    joined = _join(home, reading, as_of, days[0])
    models = [_summarize(str(name), rows, config) for name, rows in joined.groupby("model_id", sort=False)]
    active = find_trusted_model(read_registry_state(home, keys)).model_id
    own = next((model for model in models if model.model_id == active), None)
    known = joined[(joined["model_id"] == active).to_numpy(dtype=bool) & ~joined["learned"].to_numpy(dtype=bool) & is_labeled(joined)]
    bars = [] if active is None or own is None else check_bars(home, active, known, own.judged_labels, config=config)
    labeled = sum(model.figures.labeled for model in models)
    record = LivePerformance(
        home=home.display_name,
        as_of=as_of,
        state="no_scores" if joined.empty else "ok" if labeled else "no_labels",
        first_day=days[0],
        last_day=last,
        days=reading.days,
        damaged_days=reading.damaged,
        models=models,
        active_model_id=active,
        bars=bars,
        dropped=any(bar.verdict == "dropped" for bar in bars),
        summary="",
    )
    return record.model_copy(update={"summary": _describe(record)})


def remember_performance_drop(home: Home, record: LivePerformance, *, run_id: str | None, at: datetime) -> PerformanceDrop | None:
    """Writes the event and then the file of a drop, unless the drop of this model was found before; None if there is none.

    Args:
        home: the taskclf home.
        record: of the measurement.
        run_id: the run that measured; None without one.
        at: the present time.

    Raises:
        UnreadableFileError: the file of the model is damaged.
    """
    active = record.active
    if not record.dropped or active is None or active.figures.macro_f1 is None:
        return None
    earlier = read_performance_drop(home, active.model_id)
    if earlier is not None:
        return earlier
    missed = "; ".join(f"{bar.name.replace('_', ' ')}: {bar.detail}" for bar in record.bars if bar.verdict == "dropped")
    drop = PerformanceDrop(
        model_id=active.model_id,
        found_at=at,
        as_of=record.as_of,
        macro_f1=active.figures.macro_f1,
        windows=active.figures.labeled,
        reason=missed,
    )
    write_event(home, build_drop_event(drop, run_id=run_id))
    write_performance_drop(home, drop)
    return drop


def build_drop_event(drop: PerformanceDrop, *, run_id: str | None) -> Event:
    """Returns the event of a drop; its id follows from the model, so that it is one event for each."""
    metrics = pick_metrics({"macro_f1": drop.macro_f1, "windows": drop.windows})
    payload = EventPayload(model_id=drop.model_id, previous_version=drop.model_id, metrics=metrics, reason=drop.reason)
    return Event(
        event_id=f"{drop.model_id}-performance-dropped",
        event_type="performance.dropped",
        occurred_at=drop.found_at,
        run_id=run_id,
        payload=payload,
    )


def _join(home: Home, reading: ScoreReading, as_of: datetime, first_day: date) -> pd.DataFrame:
    """Returns the scored windows that ended by the as-of time, with label, provenance, prediction and `learned`, by model and time."""
    scores = reading.frame
    ended = scores["bucket_start_ts"] + pd.Timedelta(seconds=WINDOW_SECONDS) <= as_of
    scores = scores[ended.to_numpy(dtype=bool)].reset_index(drop=True)
    spans = read_usable_spans(home, start=datetime(first_day.year, first_day.month, first_day.day, tzinfo=UTC), end=as_of)
    joined = join_labels(scores, spans)
    joined["learned"] = may_have_learned(home, joined)
    first_seen = joined.groupby("model_id")["bucket_start_ts"].transform("min")
    return joined.assign(first_seen=first_seen).sort_values(["first_seen", "model_id", "user_id", "bucket_start_ts"], ignore_index=True)


def _summarize(model_id: str, rows: pd.DataFrame, config: RetrainConfig) -> LiveModel:
    return summarize_model(
        model_id,
        rows[~rows["learned"]],
        left_out=int(rows["learned"].sum()),
        min_class_windows=config.evaluation.min_class_windows,
        significance=config.comparison.significance,
    )


def _describe(record: LivePerformance) -> str:
    span = f"{record.first_day} to {record.last_day} (UTC)"
    if record.state == "no_scores":
        damaged = f"; {counted(len(record.damaged_days), 'day')} cannot be read" if record.damaged_days else ""
        return f"No window from {span} was scored, so there is nothing to compare with labels{damaged}."
    if record.state == "no_labels":
        scored = sum(model.figures.windows for model in record.models)
        return f"Of {counted(scored, 'scored window')} from {span} none has a label of a person yet that counts."
    active = record.active
    if active is None:
        name = record.active_model_id or "no model"
        return f"{name} is active and scored no window from {span}; others did."
    figures = active.figures
    score = "no label is judged" if figures.macro_f1 is None else f"macro-F1 {figures.macro_f1:.4f}"
    spread = "" if active.interval is None else f" ({active.interval[0]:.3f} to {active.interval[1]:.3f})"
    state = "performs clearly worse than it should" if record.dropped else "is not clearly below its bars"
    judged = any(bar.verdict != "not_judged" for bar in record.bars)
    claim = state if judged else "cannot be judged yet"
    basis = f"{counted(figures.labeled, 'labeled window')} on {counted(active.user_days, 'user-day')}"
    return f"{active.model_id} {claim}: {score}{spread} on {basis} from {span}."
