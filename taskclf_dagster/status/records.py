"""The records of the status: the state of a home's retraining, the progress of a run, trials, and one retrain of the run history.

Add a field here, and its value in `reader` or `run_history`; the command line and every other interface show these records. Plain data:
nothing is read here.
"""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

State = Literal["idle", "queued", "running", "completed", "skipped", "failed"]
"""The state of retraining: that of the unfinished run, else of the last run; idle if there never was one."""


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class WireView(BaseModel):
    """A record that has camelCase names on the wire: `model_dump(by_alias=True, mode="json")` gives them."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)


class Progress(WireView):
    """The progress of an unfinished run.

    Attributes:
        run_id: the run.
        since: start of its process; while it is queued, time of the launch.
        steps_done: number of assets and checks that have ended.
        steps: number of all of them.
        step: the step that runs now; None before the first.
        step_title: what that step does, in plain words; what the run waits for before the first.
        message: the last message that it logged.
        round: number of rounds of the present fit that are done; None if nothing is being fitted.
        rounds: number of all of them.
        seconds_elapsed: time since the start [s].
        seconds_left: estimate from the last runs of the home [s]; None if there is none to estimate from.
    """

    run_id: str
    since: datetime
    steps_done: int
    steps: int
    step: str | None
    step_title: str
    message: str | None
    round: int | None
    rounds: int | None
    seconds_elapsed: float
    seconds_left: float | None


class TrialView(WireView):
    """A challenger on trial beside the active model, or how its trial ended.

    Attributes:
        model_id: the challenger.
        champion_id: the model beside which it is tried.
        state: waits, or how the trial ended: promoted, awaiting_approval, worse, time_over, champion_changed, replaced, bundle_gone or
            not_possible.
        is_open: True if it goes on.
        days: number of days with labels of a person, each counted once for each of them.
        windows: number of labeled windows.
        difference: challenger minus champion in macro-F1 [-1 to 1, higher is better]; None if nothing is known yet.
        lower, upper: its bounds, which hold at every look.
        since: the as-of time of the decision that held the challenger; later windows count.
        until: end of the trial.
        decision_id: the decision that it made; None if none.
        sentence: what it waits for, or why it ended.
        serving: what it serves of batch scores, or why it stopped, in one sentence; None if it never served.
    """

    model_id: str
    champion_id: str
    state: str
    is_open: bool
    days: int
    windows: int
    difference: float | None
    lower: float
    upper: float
    since: datetime
    until: datetime
    decision_id: str | None
    sentence: str
    serving: str | None = None


class ProbationView(WireView):
    """The probation of a promoted model, beside the model that ran before it.

    Attributes:
        model_id: the promoted model.
        previous_id: the model before.
        until: end of the days that count.
        days, windows, difference, lower, upper: of promoted minus previous model, as in `TrialView`.
        harm: True if harm was found.
        sentence: what is known so far.
    """

    model_id: str
    previous_id: str
    until: datetime
    days: int
    windows: int
    difference: float | None
    lower: float
    upper: float
    harm: bool
    sentence: str


class Status(_View):
    """The state of a home's retraining.

    Attributes:
        home: display name of the home.
        state: state of the unfinished run, else of the last run.
        reason: reason of that state.
        last_run_id: the last run that ended.
        last_finished: time at which it ended.
        last_decision: id of the last decision that is not a dry run.
        last_outcome: its verdict, or SKIP.
        last_decided: time of that decision or skip.
        last_moved: sequence number of the history record of the pointer change that it, or its approval, made; None if it made none.
        active_model: the model that taskclf runs; None if there is none.
        active_model_source: where it was found: policy, pointer, last_known_good, best_by_rank or none.
        reject_threshold: the reject threshold that taskclf applies to it [0 to 1]; None if there is none.
        active_model_summary: all three in a sentence.
        labels_since: number of label spans added, changed or deleted since the last decided run; None if they cannot be read.
        label_spans: summary of the label spans by what became of them; None if the windows cannot be read, or are too many.
        spans_by_fate: the same as numbers of spans.
        due: True if the daily schedule would launch a retrain now.
        due_reason: reason why a retrain is due, or why not and until when.
        due_at: latest time at which a retrain is due if no label arrives.
        next_tick: next tick of the daily schedule; None if it is off.
        events_waiting: number of events that not every sink has received.
        warnings: what keeps retrains from being launched, is damaged, not read, or labels nothing.
        progress: progress of the unfinished run; None if there is none.
        trials: challengers on trial and the trials that ended last, at most five, the open ones first.
        probation: that of the last promotion; None without one.
    """

    home: str
    state: State
    reason: str
    last_run_id: str | None
    last_finished: datetime | None
    last_decision: str | None
    last_outcome: str | None
    last_decided: datetime | None
    last_moved: int | None = None
    active_model: str | None
    active_model_source: Literal["policy", "pointer", "last_known_good", "best_by_rank", "none"]
    reject_threshold: float | None
    active_model_summary: str
    labels_since: int | None
    label_spans: str | None
    spans_by_fate: dict[str, int] | None
    due: bool
    due_reason: str
    due_at: datetime | None
    next_tick: datetime | None
    events_waiting: int
    warnings: list[str]
    progress: Progress | None
    trials: list[TrialView]
    probation: ProbationView | None


class Retrain(_View):
    """One retrain of the run history.

    Attributes:
        run_id: the Dagster run; None if this instance does not have it.
        decision_id: its decision; None if it made none.
        status: state of the run.
        outcome: the verdict, SKIP or FAILED; None before that.
        cause: cause of the launch.
        started: start of its process, or time of the launch before that.
        finished: time at which it ended.
        previous_version: the champion that the challenger was compared with.
        new_version: its model, if the pointer changed to it.
        challenger: the model that it trained.
        labels: number of labeled windows of its dataset.
        metrics_before: macro_f1, weighted_f1, accuracy, macro_precision and macro_recall of the champion on the windows that neither model
            was trained on [0 to 1].
        metrics_after: the same of the challenger; without a champion its F1 on all test windows.
        compared_windows: number of these windows.
        moved: sequence number of the history record of the pointer change.
        error: reason of a failure.
        reason: reason of the outcome.
        sentence: the verdict in plain words; None without a decision.
    """

    run_id: str | None = None
    decision_id: str | None = None
    status: Literal["queued", "running", "completed", "skipped", "failed"]
    outcome: str | None = None
    cause: str | None = None
    started: datetime | None = None
    finished: datetime | None = None
    previous_version: str | None = None
    new_version: str | None = None
    challenger: str | None = None
    labels: int | None = None
    metrics_before: dict[str, float | None] | None = None
    metrics_after: dict[str, float | None] | None = None
    compared_windows: int | None = None
    moved: int | None = None
    error: str | None = None
    reason: str | None = None
    sentence: str | None = None
