"""Scores several days in one run with one model, and finds the days that wait for their scores."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.day_folders import list_days
from taskclf_dagster.domain.decision.serving import ServingRecord, write_serving
from taskclf_dagster.domain.events.event import Event, EventPayload, pick_metrics
from taskclf_dagster.domain.events.outbox import write_event
from taskclf_dagster.domain.monitoring.contender_scores import ContenderScores, score_contenders
from taskclf_dagster.domain.monitoring.day_scores import (
    DayScores,
    ScoringModel,
    is_scored,
    list_scored_days,
    score_day,
)
from taskclf_dagster.domain.monitoring.score_files import scores_path
from taskclf_dagster.domain.monitoring.sharing import list_present_serving, open_sharing
from taskclf_dagster.domain.storage.files import remove_tree
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import BundleError, DataContractError, NoActiveModelError, UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster.progress import Progress, Report, ignore_progress
from taskclf_dagster.shown_text import counted

WAITING_DAYS = 7
"""Days before today that are scored later if nothing ran when they ended."""


class ScoredDays(Record):
    """The scores that one run made or found.

    Attributes:
        home: for display.
        model_id: the model of this run; days that were kept may have another.
        bundle_hash, pointer_sequence, policy_hash: of the model, as in `ScoringModel`.
        reject_threshold: of the model.
        warnings: on how the model was found, and on records of what contenders serve that cannot be read.
        days: the oldest first.
        contenders: the challengers on trial, which scored the same days.
        share: of the user-days that the settings leave to a contender [0 to 0.5].
        serving: what each contender on trial serves or served, as this run left it, and those that it stopped.
    """

    home: str
    model_id: str
    bundle_hash: str
    pointer_sequence: int | None
    policy_hash: str | None
    reject_threshold: float
    warnings: tuple[str, ...]
    days: tuple[DayScores, ...]
    contenders: tuple[ContenderScores, ...] = ()
    share: float = 0.0
    serving: tuple[ServingRecord, ...] = ()

    @property
    def served(self) -> dict[str, int]:
        """Number of windows of all days by the model whose score is served."""
        return dict(sum((Counter(day.served) for day in self.days), Counter[str]()))


def score_days(
    home: Home,
    days: Sequence[date],
    scorer: ScoringModel,
    *,
    as_of: datetime,
    cores: int,
    replace: bool = False,
    config: RetrainConfig | None = None,
    on_progress: Report = ignore_progress,
) -> ScoredDays:
    """Scores days with one model; a promotion in the meantime changes nothing, and a day that cannot be read does not stop the others.

    Args:
        home: the taskclf home.
        days: UTC days, in any order.
        scorer: the active model, found once.
        as_of: windows that end later are left out.
        cores: number of threads of LightGBM; the scores do not depend on it.
        replace: score days again also if their scores are complete.
        config: the settings of the share that a contender serves; None for no share.
        on_progress: takes a report after each day.

    Raises:
        NoActiveModelError: nothing was ever promoted.
        BundleError: the active model does not load; the scores that are there stay.
    """
    model = scorer.model
    if model is None:
        if scorer.is_broken:
            raise BundleError(home.models, "not_loadable", f"{scorer.reason}; the scores of earlier runs stay as they are")
        raise NoActiveModelError(home.models)
    share = 0.0 if config is None else config.trials.challenger_share
    sharing = None if config is None else open_sharing(home, scorer, config, as_of=as_of, num_threads=cores)
    serve = None if sharing is None else sharing.serve
    scored: list[DayScores] = []
    for day in sorted(set(days)):
        try:
            found = score_day(home, day, scorer, model, as_of=as_of, num_threads=cores, replace=replace, serve=serve)
        except (DataContractError, UnreadableFileError) as error:
            found = DayScores(day=day, outcome="unreadable", as_of=as_of, reason=str(error))
        scored.append(found)
        line = f"{day}: {found.outcome.replace('_', ' ')}, {found.windows} windows"
        on_progress(Progress("scoring", len(scored), len(set(days)), "day", line))
    contenders = score_contenders(home, days, as_of=as_of, num_threads=cores)
    serving, damaged = list_present_serving(home)
    return ScoredDays(
        home=home.display_name,
        model_id=scorer.model_id,
        bundle_hash=scorer.bundle_hash,
        pointer_sequence=scorer.pointer_sequence,
        policy_hash=scorer.policy_hash,
        reject_threshold=model.reject_threshold,
        warnings=(*scorer.warnings, *(map(str, damaged) if share else ())),
        days=tuple(scored),
        contenders=contenders,
        share=share,
        serving=serving,
    )


def choose_days(home: Home, scorer: ScoringModel, *, first: date | None, last: date | None, now: datetime) -> list[date]:
    """Returns the days of a range that have windows, the oldest first; without a first day those that wait, up to today.

    Args:
        home: the taskclf home.
        scorer: the active model, whose schema version counts; without one there are none.
        first: first UTC day; None for the days that wait, see `find_waiting_days`.
        last: last UTC day; None for today.
        now: the present time.

    Raises:
        UnreadableFileError: a folder cannot be listed.
    """
    if scorer.model is None:
        return []
    until = now.astimezone(UTC).date() if last is None else last
    if first is None:
        return [day for day in find_waiting_days(home, scorer, now=now, today=True) if day <= until]
    return [day for day in list_days(home, scorer.model.schema.version) if first <= day <= until]


def find_waiting_days(home: Home, scorer: ScoringModel, *, now: datetime, today: bool) -> list[date]:
    """Returns the days of the last week that have windows and no scores from after their end, the oldest first.

    Args:
        home: the taskclf home.
        scorer: the active model; without one nothing waits.
        now: the present time.
        today: True for today as well, if it has windows; it is never complete.

    Raises:
        UnreadableFileError: a folder cannot be listed.
    """
    if scorer.model is None:
        return []
    recorded = list_days(home, scorer.model.schema.version)
    present = now.astimezone(UTC).date()
    past = [present - timedelta(days=age) for age in range(WAITING_DAYS, 0, -1)]
    waiting = [day for day in past if day in recorded and not is_scored(scores_path(home, day), day)]
    return [*waiting, present] if today and present in recorded else waiting


def remove_old_scores(home: Home, *, keep_days: int, now: datetime) -> list[date]:
    """Removes the folders of the scores of days before the last ones, and returns the days.

    Args:
        home: the taskclf home.
        keep_days: number of days that stay.
        now: the present time.
    """
    first = now.astimezone(UTC).date() - timedelta(days=keep_days)
    old = {day: path for day, path in list_scored_days(home).items() if day < first}
    for path in old.values():
        remove_tree(path.parent)
    return list(old)


def write_score_events(home: Home, record: ScoredDays, *, run_id: str | None, at: datetime) -> None:
    """Writes `model.scored` for each day that this run scored and that is over, and `trial.serving_stopped` once for a contender.

    Written again, each is the same event.

    Raises:
        OSError: the outbox cannot be written.
    """
    for serving in record.serving:
        if serving.stop is not None and not serving.stop.alerted:
            _write_stop_event(home, serving, run_id, at)
            write_serving(home, serving.model_copy(update={"stop": serving.stop.model_copy(update={"alerted": True})}))
    for day in record.days:
        if day.outcome != "scored" or not day.is_over or day.quality is None:
            continue
        reason = f"{day.day}: {counted(day.windows, 'window')}, {day.quality.reject_rate or 0:.1%} rejected"
        payload = EventPayload(model_id=record.model_id, metrics=pick_metrics({"windows": day.windows}), reason=reason)
        write_event(
            home,
            Event(
                event_id=f"scored-{day.day}-{record.bundle_hash[:12]}-{(record.policy_hash or 'none')[:12]}",
                event_type="model.scored",
                occurred_at=at,
                run_id=run_id,
                payload=payload,
            ),
        )


def _write_stop_event(home: Home, serving: ServingRecord, run_id: str | None, at: datetime) -> None:
    payload = EventPayload(
        model_id=serving.model_id,
        previous_version=serving.champion_id,
        metrics=pick_metrics({}),
        reason=f"{serving.model_id} {serving.sentence}",
    )
    event_id = f"{serving.model_id}-serving-stopped".replace(".", "_")
    write_event(home, Event(event_id=event_id, event_type="trial.serving_stopped", occurred_at=at, run_id=run_id, payload=payload))
