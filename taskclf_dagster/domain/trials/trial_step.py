"""One look at every trial: starts those of new contenders, closes days, and promotes, ends or goes on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_events import build_decision_events
from taskclf_dagster.domain.decision.decision_store import save_decision
from taskclf_dagster.domain.decision.serving import ServingRecord, find_shown, list_serving
from taskclf_dagster.domain.decision.trial import Ending, TrialRecord, list_trials, read_trial, write_trial
from taskclf_dagster.domain.decision.trial_gate import describe_bounds
from taskclf_dagster.domain.events.outbox import write_event
from taskclf_dagster.domain.models.bundle_paths import find_bundle
from taskclf_dagster.domain.registry.active_model import find_trusted_model
from taskclf_dagster.domain.registry.promotion import Recompute, promote
from taskclf_dagster.domain.registry.promotion_checks import find_changed_files
from taskclf_dagster.domain.registry.state import RegistryState, read_registry_state
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.domain.storage.signatures import NO_KEYS, Keys
from taskclf_dagster.domain.trials.closed_days import close_days, last_closable_day, last_day
from taskclf_dagster.domain.trials.contenders import find_contenders
from taskclf_dagster.domain.trials.trial_decision import decide_trial
from taskclf_dagster.domain.trials.two_models import TrialModels, open_models
from taskclf_dagster.errors import TaskclfDagsterError, UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster.shown_text import counted

_Reason = tuple[Ending, str, str | None]
"""The ending of a trial, the reason in a sentence, and the decision that ended it; None for none."""


class TrialLook(Record):
    """A trial as one look left it.

    Attributes:
        outcome: how it goes on: waits, problem (the look failed, and is repeated), or how it ended.
        detail: one sentence.
        user_days, windows: so far.
        difference, lower, upper: of challenger minus champion in macro-F1; see `SequentialBounds`.
        decision_id: the decision that it made; None for none.
        serving: what the contender serves of batch scores, and why it stopped; None if it never served, or its record cannot be read.
    """

    model_id: str
    champion_id: str
    outcome: str
    detail: str
    user_days: int
    windows: int
    difference: float | None
    lower: float
    upper: float
    ends_at: datetime
    decision_id: str | None = None
    serving: ServingRecord | None = None


class TrialsReport(Record):
    """One look at the trials of a home.

    Attributes:
        home: for display.
        looks: at each trial that was open or started, the newest first.
        damaged: files of trials, or of what contenders serve, that cannot be read, with the reason.
    """

    home: str
    as_of: datetime
    looks: tuple[TrialLook, ...]
    damaged: tuple[str, ...]


@dataclass(frozen=True)
class TrialStep:
    """One look at the trials of a home, with all that it needs.

    Attributes:
        home: the taskclf home.
        config: the policy, and the settings of trials.
        recompute: computes a decision again before a promotion; see `promote`.
        as_of: the end of what counts.
        at: the present time.
        cores: number of threads of LightGBM.
        code_version: recorded.
        run_id: the run that looks; None without one.
        keys: sign receipt and record, and check signatures.
    """

    home: Home
    config: RetrainConfig
    recompute: Recompute
    as_of: datetime
    at: datetime
    cores: int
    code_version: str
    run_id: str | None = None
    keys: Keys = NO_KEYS

    def look(self) -> TrialsReport:
        """Looks at every trial; one whose look fails keeps what it has, and is looked at again the next time."""
        self.home.require()
        if self.as_of > self.at:  # a day that is not over cannot be closed
            return replace(self, as_of=self.at).look()
        state = read_registry_state(self.home, self.keys)
        contenders = {decision.challenger.model_id: decision for decision in find_contenders(state, self.config.trials)}
        trials, damaged = list_trials(self.home)
        open_trials = {trial.model_id: trial for trial in trials if trial.is_open}
        looks = []
        for model_id in sorted({*contenders, *open_trials}, reverse=True):
            look = self._look_at(model_id, contenders.get(model_id), open_trials.get(model_id))
            looks += [] if look is None else [look]
        return _make_report(self.home, self.as_of, looks, damaged)

    def _look_at(self, model_id: str, held: PromotionDecision | None, trial: TrialRecord | None) -> TrialLook | None:
        try:
            state = read_registry_state(self.home, self.keys)  # an earlier trial of this look may have promoted
            if trial is None:
                trial = None if held is None else self._start(state, held)
            if trial is None or not trial.is_open:
                return None if trial is None else show_trial(trial)
            ending = self._find_ending(state, trial, held)
            if ending is not None or held is None:
                return show_trial(self._end(trial, *(ending or ("replaced", "", None))))
            return self._judge(state, trial, held)
        except TaskclfDagsterError as error:
            kept = _read_kept(self.home, model_id)
            if kept is not None and kept.is_open and last_closable_day(kept, self.as_of) > last_day(kept):
                why = f"its {counted(kept.days, 'day')} are over, and the last look failed: {error}"
                return show_trial(self._end(kept, "time_over", why))
            return None if kept is None else show_trial(kept).model_copy(update={"outcome": "problem", "detail": str(error)})

    def _start(self, state: RegistryState, held: PromotionDecision) -> TrialRecord | None:
        """Writes the record of a new trial; None if there was one, or the active model is another by now."""
        if read_trial(self.home, held.challenger.model_id) is not None:
            return None
        models, settings = self._open(state, held.challenger.model_id), self.config.trials
        champion_id = models.champion_model.bundle.model_id
        if held.champion.model is None or held.champion.model.model_id != champion_id:
            return None
        reference, start = models.count_reference(), models.find_start()
        trial = TrialRecord(
            model_id=held.challenger.model_id,
            decision_id=held.decision_id,
            champion_id=champion_id,
            started_at=held.as_of,
            windows_from=held.as_of if start is None else max(start, held.as_of),
            days=settings.days,
            label_delay_days=settings.label_delay_days,
            expected_user_days=max(1, models.training.load(columns=["user_id"])["user_id"].nunique() * settings.days),
            significance=self.config.comparison.significance,
            reference=reference,
            schema_version=models.contender.schema.version,
        )
        if start is None or not reference.labels:
            unknown = "nobody knows until when one of the two models learned"
            why = unknown if start is None else "no label has enough test windows in the decision that held it"
            trial = self._end(trial, "not_possible", why)
        write_trial(self.home, trial)
        return trial

    def _open(self, state: RegistryState, model_id: str) -> TrialModels:
        return open_models(state, model_id, config=self.config, cores=self.cores)

    def _find_ending(self, state: RegistryState, trial: TrialRecord, held: PromotionDecision | None) -> _Reason | None:
        """Returns how and why a trial ends whatever its labels say, and by which decision; None if it goes on."""
        active = find_trusted_model(state).model_id
        if active == trial.model_id:
            return "promoted", "it is the active model", None if state.history.last_move is None else state.history.last_move.decision_id
        if active != trial.champion_id:
            return "champion_changed", f"the active model is {active} now; it was tried beside {trial.champion_id}", None
        bundle = find_bundle(self.home, trial.model_id)
        if bundle is None:
            return "bundle_gone", "its bundle does not exist any more", None
        if held is not None and find_changed_files(state.bundles.files(bundle), held):
            return "bundle_gone", f"its bundle is not the one that {held.decision_id} judged", None
        if held is None:
            most = counted(self.config.trials.max_contenders, "trial")
            why = f"it was judged again or left by a rollback, its receipt is not trusted, or newer ones took its place (at most {most})"
            return "replaced", why, None
        return None

    def _judge(self, state: RegistryState, trial: TrialRecord, held: PromotionDecision) -> TrialLook:
        """Closes days and judges the bounds; the closed days are stored before anything follows from them."""
        models = self._open(state, trial.model_id)
        trial = close_days(self.home, trial, models, as_of=self.as_of)
        bounds = trial.bounds
        waits_for = f"neither better nor worse is shown: {describe_bounds(bounds)}"
        if not bounds.user_days:
            waits_for = f"no day since {trial.windows_from:%Y-%m-%d %H:%M} UTC is closed that has a label of a person"
        trial = trial.model_copy(update={"judged_at": self.as_of, "waits_for": waits_for})
        write_trial(self.home, trial)
        if bounds.shows_worse:
            return show_trial(self._end(trial, "worse", f"it is worse than the active model: {describe_bounds(bounds)}"))
        if bounds.shows_better:
            decision = decide_trial(state, trial, models, held, config=self.config, as_of=self.as_of, code_version=self.code_version)
            if decision.verdict in ("PROMOTE", "AWAITING_APPROVAL"):
                return self._carry_out(state, trial, decision)
            waits_for = f"it is shown to be better ({describe_bounds(bounds)}), but not every gate passes: {decision.reason}"
            trial = trial.model_copy(update={"waits_for": waits_for})
            write_trial(self.home, trial)
        if trial.closed_through is not None and trial.closed_through >= last_day(trial):
            return show_trial(self._end(trial, "time_over", f"its {counted(trial.days, 'day')} are over: {waits_for}"))
        return show_trial(trial)

    def _carry_out(self, state: RegistryState, trial: TrialRecord, decision: PromotionDecision) -> TrialLook:
        save_decision(self.home, decision)
        if decision.verdict == "AWAITING_APPROVAL":
            for event in build_decision_events(decision, run_id=self.run_id or "", at=self.at):
                if event.event_type != "model.retrained":  # nothing was trained
                    write_event(self.home, event)
            return show_trial(self._end(trial, "awaiting_approval", decision.reason, decision.decision_id))
        promote(self.home, decision, recompute=self.recompute, at=self.at, run_id=self.run_id, known=state, keys=self.keys)
        return show_trial(self._end(trial, "promoted", decision.reason, decision.decision_id))

    def _end(self, trial: TrialRecord, ending: Ending, why: str, decision_id: str | None = None) -> TrialRecord:
        update = {"ending": ending, "ended_at": self.at, "waits_for": why, "ended_by": decision_id, "judged_at": self.as_of}
        ended = trial.model_copy(update=update)
        write_trial(self.home, ended)
        return ended


def show_trials(home: Home, *, as_of: datetime) -> TrialsReport:
    """Returns the trials of a home as their records have them, the newest first; looks at none, and reads only."""
    trials, damaged = list_trials(home)
    return _make_report(home, as_of, [show_trial(trial) for trial in trials], damaged)


def _make_report(home: Home, as_of: datetime, looks: Sequence[TrialLook], damaged: Sequence[UnreadableFileError]) -> TrialsReport:
    serving, unreadable = list_serving(home)
    going_on = ("waits", "problem")
    found = [find_shown(serving, look.model_id, is_open=look.outcome in going_on) for look in looks]
    shown = tuple(look.model_copy(update={"serving": each}) for look, each in zip(looks, found, strict=True))
    return TrialsReport(home=home.display_name, as_of=as_of, looks=shown, damaged=tuple(map(str, [*damaged, *unreadable])))


def show_trial(trial: TrialRecord) -> TrialLook:
    """Returns a trial as it is shown, with its bounds."""
    bounds = trial.bounds
    return TrialLook(
        model_id=trial.model_id,
        champion_id=trial.champion_id,
        outcome=trial.ending or "waits",
        detail=trial.waits_for,
        user_days=len(trial.user_days),
        windows=trial.windows,
        difference=bounds.difference,
        lower=bounds.lower,
        upper=bounds.upper,
        ends_at=trial.ends_at.astimezone(UTC),
        decision_id=trial.ended_by,
    )


def _read_kept(home: Home, model_id: str) -> TrialRecord | None:
    try:
        return read_trial(home, model_id)
    except UnreadableFileError:
        return None
