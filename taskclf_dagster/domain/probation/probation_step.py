"""One look at the probation of the active model: finds harm, and goes back to the model before, or writes one alert."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.decision.probation import (
    DayRejects,
    Ending,
    Harm,
    ProbationFinding,
    ProbationRecord,
    list_probations,
    read_probation,
    write_probation,
)
from taskclf_dagster.domain.decision.trial_gate import describe_bounds
from taskclf_dagster.domain.events.event import Event, EventPayload, pick_metrics
from taskclf_dagster.domain.events.outbox import write_event
from taskclf_dagster.domain.probation.probation_models import (
    ProbationModels,
    list_open_days,
    open_probation_models,
    start_comparison,
)
from taskclf_dagster.domain.probation.probation_views import ProbationReport, show_probation
from taskclf_dagster.domain.registry.last_promotion import LastPromotion, find_last_promotion
from taskclf_dagster.domain.registry.rollback import rollback
from taskclf_dagster.domain.registry.state import RegistryState, read_registry_state
from taskclf_dagster.domain.storage.signatures import NO_KEYS, Keys
from taskclf_dagster.domain.trials.closed_days import close_days
from taskclf_dagster.errors import BundleError, RegistryRefusedError, SnapshotError, TaskclfDagsterError
from taskclf_dagster.home import Home
from taskclf_dagster.shown_text import counted

_FINAL_REFUSALS = ("bundle_unusable", "model_blocked", "no_such_model", "no_model_id")
"""Refusals of a rollback that another look does not change by itself."""


@dataclass(frozen=True)
class ProbationStep:
    """The inputs of one look.

    Attributes:
        home: the taskclf home.
        config: the settings.
        as_of: the end of what counts.
        at: the present time.
        cores: number of threads of LightGBM.
        run_id: the run that looks; None without one.
        keys: sign a rollback, and check signatures.
    """

    home: Home
    config: RetrainConfig
    as_of: datetime
    at: datetime
    cores: int
    run_id: str | None = None
    keys: Keys = NO_KEYS

    def look(self) -> ProbationReport:
        """Looks at the probation of the active model; one whose look fails keeps what it has, and is looked at again the next time."""
        self.home.require()
        if self.as_of > self.at:  # a day that is not over cannot be closed
            return replace(self, as_of=self.at).look()
        state = read_registry_state(self.home, self.keys)
        promotion = find_last_promotion(state) if self.config.probation.probation_days else None
        records, damaged = list_probations(self.home)
        left = [self._leave(state, record) for record in records if record.is_open and not _is_about(record, promotion)]
        problem, record = "", None
        if promotion is not None:
            try:
                record = self._look_at(state, promotion)
            except TaskclfDagsterError as error:
                problem = str(error)
                record = next((each for each in records if _is_about(each, promotion)), None)
        shown = [*([] if record is None else [record]), *(each for each in left if not each.is_open)]
        return ProbationReport(
            home=self.home.display_name,
            as_of=self.as_of,
            looks=tuple(show_probation(each, problem=problem if each is record else "") for each in shown),
            problem=problem,
            damaged=tuple(map(str, damaged)),
        )

    def _look_at(self, state: RegistryState, promotion: LastPromotion) -> ProbationRecord | None:
        record = read_probation(self.home, promotion.sequence)
        if record is None:
            record = self._start(promotion)
        if record is None or not record.is_open:
            return None
        try:
            models = open_probation_models(state, promotion, at=self.at)
        except BundleError as error:
            return self._act(state, record, "load_error", f"it does not load: {error.reason}")
        record = self._count_days(record, models)
        record = self._compare(record, promotion, models)
        record = record.model_copy(update={"judged_at": self.as_of, "state": _describe(record)})
        write_probation(self.home, record)
        bounds = record.bounds
        if bounds is not None and bounds.shows_worse:
            return self._act(state, record, "labels", f"it is worse than {record.previous_id} by {describe_bounds(bounds)}")
        bad = _find_bad_day(record)
        if bad is not None:
            allowed = self.config.evaluation.gates.rejecting_allowed
            detail = f"it rejected {bad.rate:.1%} of the {bad.windows} windows of {bad.day}, and {allowed} are allowed"
            return self._act(state, record, "reject_rate", detail)
        return self._end_if_over(record)

    def _start(self, promotion: LastPromotion) -> ProbationRecord | None:
        """Returns the record of a probation that begins; None if its days are over already."""
        days = self.config.probation.probation_days
        if self.as_of >= promotion.at + timedelta(days=days + 1 + self.config.trials.label_delay_days):
            return None
        record = ProbationRecord(
            sequence=promotion.sequence,
            model_id=promotion.model_id,
            previous_id=promotion.previous_id,
            promoted_at=promotion.at,
            days=days,
            label_delay_days=self.config.trials.label_delay_days,
        )
        write_probation(self.home, record)
        return record

    def _compare(self, record: ProbationRecord, promotion: LastPromotion, models: ProbationModels) -> ProbationRecord:
        """Returns the record with the user-days that can be closed, or with the reason why there is no comparison."""
        try:
            pair = models.pair(self.config, self.cores)
        except (BundleError, SnapshotError) as error:
            return record.model_copy(update={"not_compared": str(error)})
        comparison = record.comparison
        if comparison is None:
            found = start_comparison(pair, promotion, self.config)
            if isinstance(found, str):
                return record.model_copy(update={"not_compared": found})
            comparison = found
        comparison = close_days(self.home, comparison, pair, as_of=self.as_of)
        return record.model_copy(update={"comparison": comparison, "not_compared": ""})

    def _count_days(self, record: ProbationRecord, models: ProbationModels) -> ProbationRecord:
        gates, days = self.config.evaluation.gates, list_open_days(record, as_of=self.as_of)
        found = (models.count_rejects(day, gates, cores=self.cores) for day in days)
        return record.model_copy(update={"rejects": (*record.rejects, *(each for each in found if each is not None))})

    def _act(self, state: RegistryState, record: ProbationRecord, harm: Harm, detail: str) -> ProbationRecord:
        """Goes back to the model before, or writes an alert; the finding is stored before a rollback, so that it explains it."""
        finding = record.find(harm) or ProbationFinding(harm=harm, found_at=self.as_of, detail=detail)
        record = record.with_finding(finding).model_copy(update={"judged_at": self.as_of, "state": detail})
        write_probation(self.home, record)
        why_not = self._find_obstacle(record, harm)
        if why_not is None:
            why_not = self._roll_back(state, record, harm, detail)
        if why_not is None:
            return self._end(record, "rolled_back", f"{record.previous_id} runs again in place of {record.model_id}: {detail}")
        record = record.model_copy(update={"state": f"{detail}; nothing was rolled back: {why_not}"})
        if not finding.alerted:
            self._alert(record, harm)
            record = record.with_finding(finding.model_copy(update={"alerted": True}))
        write_probation(self.home, record)
        return self._end_if_over(record)

    def _find_obstacle(self, record: ProbationRecord, harm: Harm) -> str | None:
        """Returns why the model before must not run again by itself; None if it may."""
        if not self.config.probation.auto_rollback:
            return "auto_rollback is false"
        bounds = record.bounds
        if harm != "labels" and bounds is not None and bounds.shows_better:
            return f"on the labels since, {record.previous_id} is worse: the new model differs by {describe_bounds(bounds)}"
        bad = _find_bad_day(record)
        if harm == "reject_rate" and bad is not None and bad.previous_outside:
            return f"{record.previous_id} would have rejected {bad.previous_rate:.1%} of that day: the day is unusual, not the model"
        return None

    def _roll_back(self, state: RegistryState, record: ProbationRecord, harm: Harm, detail: str) -> str | None:
        """Goes back to the model before; returns why that is refused, or None.

        Raises:
            RegistryRefusedError: the registry changed since it was read; the next look sees what it is then.
        """
        try:
            rollback(
                self.home,
                to=record.previous_id,
                reason=f"probation of {record.model_id}: {detail}",
                at=self.at,
                run_id=self.run_id,
                cause=record.name_cause(harm),
                expected_sequence=state.history.sequence,
                keys=self.keys,
            )
        except RegistryRefusedError as error:
            if error.kind not in _FINAL_REFUSALS:
                raise
            return str(error).rstrip(".")
        return None

    def _alert(self, record: ProbationRecord, harm: Harm) -> None:
        """Writes the event of a finding; its id follows from promotion and kind, so that it is one event however often it is written."""
        bounds = record.bounds
        payload = EventPayload(
            model_id=record.model_id,
            previous_version=record.previous_id,
            metrics=pick_metrics({} if bounds is None else {"windows": bounds.windows}),
            reason=f"{record.model_id}: {record.state}",
        )
        event = Event(
            event_id=record.name_cause(harm), event_type="probation.harm", occurred_at=self.at, run_id=self.run_id, payload=payload
        )
        write_event(self.home, event)

    def _leave(self, state: RegistryState, record: ProbationRecord) -> ProbationRecord:
        """Ends the probation of a model that is not active any more, also if its own rollback was not recorded in it.

        While pointer and policy are damaged, or a change of them was interrupted, it stays as it is.
        """
        made = next((entry for entry in state.history.moves if record.is_cause(entry.cause)), None)
        if made is not None:
            return self._end(record, "rolled_back", f"{record.previous_id} runs again in place of {record.model_id}: {record.state}")
        if not self.config.probation.probation_days:
            return self._end(record, "moved_on", "probation_days is 0")
        last = state.history.last_move
        if last is not None and last.new is not None and last.new.name == record.model_id and find_last_promotion(state) is None:
            return record
        return self._end(record, "moved_on", f"{record.model_id} is not the active model any more, or was promoted again")

    def _end_if_over(self, record: ProbationRecord) -> ProbationRecord:
        """Ends a probation once its last day was looked at with its labels."""
        if self.as_of < record.ends_at + timedelta(days=1 + record.label_delay_days):
            return record
        found = "no harm was found" if not record.findings else f"it goes on running, although {record.findings[-1].detail}"
        return self._end(record, "over", f"its {counted(record.days, 'day')} are over: {found}")

    def _end(self, record: ProbationRecord, ending: Ending, why: str) -> ProbationRecord:
        ended = record.model_copy(update={"ending": ending, "ended_at": self.at, "judged_at": self.as_of, "state": why})
        write_probation(self.home, ended)
        return ended


def _is_about(record: ProbationRecord, promotion: LastPromotion | None) -> bool:
    return promotion is not None and record.sequence == promotion.sequence


def _find_bad_day(record: ProbationRecord) -> DayRejects | None:
    """Returns the first day of which too much or too little was rejected, of the new model alone if there is one; None without any."""
    bad = [day for day in record.rejects if day.outside]
    return next((day for day in bad if not day.previous_outside), bad[0] if bad else None)


def _describe(record: ProbationRecord) -> str:
    """Returns what is known of a model on probation that does no harm so far."""
    bounds = record.bounds
    if bounds is None:
        return f"it is not compared: {record.not_compared}"
    if not bounds.user_days:
        return "no day since the promotion is closed that has a label of a person"
    return f"no harm is shown beside {record.previous_id}: {describe_bounds(bounds)}"
