"""The records of the summary of a home: all that page and API show of a home at a glance, each with a sentence for a person.

Add a field here, and its value in the module of its subject; decisions are in `decision_records`. Plain data:
nothing is read here.
"""

from datetime import datetime
from typing import Literal

from pydantic import Field

from taskclf_dagster.status.decision_records import DecisionSummary, JobRecord, TrendPoint
from taskclf_dagster.status.records import ProbationView, Progress, State, TrialView, WireView

ProblemKind = Literal["registry", "data", "config", "home"]
"""The subjects of problems: models and their history, windows and labels, the settings, or the folder itself."""


class FairFigures(WireView):
    """Figures of the active model on windows that it was not trained on, from the receipt of its decision [0 to 1, higher is better]."""

    macro_f1: float | None
    weighted_f1: float | None
    accuracy: float | None
    windows: int
    sentence: str


class LiveView(WireView):
    """Figures of the active model on labels that came after it scored their windows [0 to 1, higher is better].

    Attributes:
        macro_f1: mean F1 of the judged labels; None if no label is judged.
        accuracy: share of labeled windows that it predicted correctly; None without one.
        windows: number of labeled windows.
        days: number of days with one.
        as_of: time of the measurement.
        sentence: the result for a person.
    """

    macro_f1: float | None
    accuracy: float | None
    windows: int
    days: int
    as_of: datetime
    sentence: str


class ActiveModelView(WireView):
    """The model that taskclf runs.

    Attributes:
        source: where it was found: policy, pointer, last_known_good or best_by_rank.
        summary: model, source and reject threshold in a sentence.
        trained_at: time of its training; None if its bundle does not say.
        active_since: time since which it has been active; None if the history does not say.
        went_back_because: the reason of the rollback that made it active; None if it became active in another way.
        age_days: time since its training [days].
        reject_threshold: the threshold that taskclf applies to it [0 to 1].
        decision_id: the decision that promoted it; None if none did.
        fair: its fair figures; None without a receipt that can be read.
        live: its live figures; None if it scored no labeled window of the last days.
        probation: None if it is not on probation.
    """

    model_id: str
    source: Literal["policy", "pointer", "last_known_good", "best_by_rank", "none"]
    summary: str
    trained_at: datetime | None
    active_since: datetime | None
    went_back_because: str | None = None
    age_days: float | None
    reject_threshold: float | None
    decision_id: str | None
    fair: FairFigures | None
    live: LiveView | None
    probation: ProbationView | None = None


class DueView(WireView):
    """The next retrain by schedule.

    Attributes:
        is_due: True if the daily schedule would launch one now.
        reason: why, or why not and until when.
        at: latest time at which one is due if no label arrives; None if that is now or unknown.
    """

    is_due: bool
    reason: str
    at: datetime | None


class LabelsView(WireView):
    """The label spans.

    Attributes:
        since: number of spans added, changed or deleted since the last decided run; None if they cannot be read.
        needed: that number at which they trigger a retrain (`min_new_labels`).
        summary: what became of all spans, in a sentence.
    """

    since: int | None
    needed: int
    summary: str


class DaemonView(WireView):
    """Dagster's daemon, which ticks schedules and sensors and starts queued runs."""

    running: bool
    sentence: str


class Problem(WireView):
    """Something that is broken, in plain words.

    Attributes:
        kind: what it is about.
        title: what is wrong, in a few words.
        detail: what was found.
        fix: what to do.
    """

    kind: ProblemKind
    title: str
    detail: str
    fix: str


class Action(WireView):
    """Something that a person may do now, or why not.

    Attributes:
        allowed: True if it can be done now.
        reason: why it cannot; None if it can.
        effect: what will happen, for a confirmation; empty if there is nothing it could be done to.
    """

    allowed: bool
    reason: str | None
    effect: str


class ApproveAction(Action):
    """Approval of the one decision that waits.

    Attributes:
        decision_id: that decision; None if none or several wait.
        model_id: its challenger.
        as_judged: True if only today's stricter policy is in the way, which an approval "as judged" overrides.
    """

    decision_id: str | None
    model_id: str | None
    as_judged: bool


class RollbackTarget(WireView):
    """A model to which a rollback can go.

    Attributes:
        trained_at: time of its training; None if its bundle does not say.
        active_from: time at which it last became active; None if it never was.
        active_until: time at which it was last left.
        macro_f1: its stored validation score [0 to 1, higher is better]; for orientation, on other windows than those of other models.
        is_default: True for the one that a rollback without a name goes to.
        effect: what will happen.
    """

    model_id: str
    trained_at: datetime | None
    active_from: datetime | None
    active_until: datetime | None
    macro_f1: float | None
    is_default: bool
    effect: str


class RollbackAction(Action):
    """Rollback to one of the targets, the default first, then by time, the newest first."""

    targets: list[RollbackTarget]


class Actions(WireView):
    """The things that can be done now, or why not."""

    trigger: Action
    approve: ApproveAction
    rollback: RollbackAction
    config: Action


class Overview(WireView):
    """A home at a glance.

    Attributes:
        home: display name of the home.
        is_demo: True for a demo home.
        state: state of the unfinished run, else of the last run.
        reason: reason of that state.
        read_only: True if nothing can be changed over page and API.
        user: the signed-in person; None if nobody signs in.
        job: the retrain under way, else the last; None without one.
        progress: of the retrain under way.
        active_model: None if no model can run.
        last_decision: the last decision, dry runs aside; None without one.
        trials: challengers on trial and the trials that ended last, at most five, the newest first.
        trend: the last 20 decisions with figures, oldest first, dry runs aside.
        due: whether a retrain is due.
        next_tick: next tick of the daily schedule; None if it is off.
        enabled: True if retrains are launched by themselves.
        labels: the label spans.
        daemon: the daemon.
        warnings: what a person should know, and that is no problem.
        problems: what is broken.
        actions: what can be done now.
    """

    home: str
    is_demo: bool
    state: State
    reason: str
    read_only: bool
    user: str | None = None
    job: JobRecord | None
    progress: Progress | None
    active_model: ActiveModelView | None
    last_decision: DecisionSummary | None
    trials: list[TrialView] = Field(default_factory=list)
    trend: list[TrendPoint]
    due: DueView
    next_tick: datetime | None
    enabled: bool
    labels: LabelsView
    daemon: DaemonView
    warnings: list[str]
    problems: list[Problem]
    actions: Actions
