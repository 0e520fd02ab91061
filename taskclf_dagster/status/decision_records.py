"""The records of retrains and decisions that page and API show: one retrain, one decision with its gates in plain words.

Add a field here, and its value in `decision_views`. Plain data: nothing is read here.
"""

from datetime import datetime
from typing import Literal

from taskclf_dagster.status.records import WireView

JobStatus = Literal["pending", "running", "completed", "failed", "skipped"]


class Metrics(WireView):
    """Macro averages over the judged labels, on windows that the model was not trained on [0 to 1, higher is better]; None if unknown.

    Attributes:
        precision: mean precision.
        recall: mean recall.
        f1: mean F1.
        accuracy: share of windows that are predicted correctly.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    accuracy: float | None


class JobRecord(WireView):
    """One retrain.

    Attributes:
        id: id of the run; of the decision if this instance does not have the run.
        model_id: the model that it trained; None if it trained none.
        previous_version: the champion that it was compared with.
        new_version: its model, if the active model changed to it.
        status: state of the run.
        outcome: the verdict, SKIP or FAILED; None before that.
        cause: cause of the launch.
        started_at: start of its process, or time of the launch before that.
        completed_at: time at which it ended.
        label_count: number of labeled windows of its dataset.
        metrics_before: of the champion, on the windows that neither model was trained on.
        metrics_after: of its model, on the same windows; without a champion on all test windows.
        compared_windows: number of these windows.
        error_message: reason of a failure.
        reason: reason of the outcome.
        sentence: the verdict in plain words; None without a decision.
        decision_id: its decision; None if it made none.
        run_id: its run; None if this instance does not have it.
        report_url: path of the report of its decision on the web server.
    """

    id: str
    model_id: str | None = None
    previous_version: str | None = None
    new_version: str | None = None
    status: JobStatus
    outcome: str | None = None
    cause: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    label_count: int | None = None
    metrics_before: Metrics | None = None
    metrics_after: Metrics | None = None
    compared_windows: int | None = None
    error_message: str | None = None
    reason: str | None = None
    sentence: str | None = None
    decision_id: str | None = None
    run_id: str | None = None
    report_url: str | None = None


class GateView(WireView):
    """The verdict of one gate.

    Attributes:
        name: of the gate.
        title: its name for a person.
        status: of the gate.
        observed: the figure that was judged; None if there is none.
        threshold: the bound, or the lower and the upper bound.
        unit: of figure and bound.
        sentence: the verdict in plain words.
        help: what would help; None if nothing has to.
    """

    name: str
    title: str
    status: Literal["PASS", "FAIL", "INCONCLUSIVE", "ERROR", "NOT_APPLICABLE"]
    observed: float | None
    threshold: float | tuple[float, float] | None
    unit: str
    sentence: str
    help: str | None


class Flips(WireView):
    """Numbers of compared windows that only one of the two models predicts correctly."""

    became_right: int
    became_wrong: int


class ComparisonView(WireView):
    """The champion (before) and the challenger (after) on the same windows, which neither was trained on.

    Attributes:
        windows: number of windows.
        user_days: number of user-days that they are of.
        before: macro-F1 of the champion [0 to 1, higher is better]; None if no label is judged.
        after: macro-F1 of the challenger.
        difference: after minus before.
        low: lower bound of the interval of the difference; None below two user-days.
        high: its upper bound.
        significance: two-sided error rate of the interval, 0.05 for one of 95 %.
        p_value: of "there is no difference" [0 to 1]; None if undefined.
        sentence: the result in plain words.
        detectable: the difference that four of five such comparisons would show; None below two user-days.
        changes: windows that became right and wrong.
    """

    windows: int
    user_days: int
    before: float | None
    after: float | None
    difference: float | None
    low: float | None
    high: float | None
    significance: float
    p_value: float | None
    sentence: str
    detectable: float | None
    changes: Flips


class DecisionSummary(WireView):
    """A decision for a person.

    Attributes:
        decision_id: its id.
        verdict: PROMOTE, AWAITING_APPROVAL, REJECT or HOLD.
        dry_run: True if it changed nothing by intention.
        sentence: the verdict in one sentence.
        as_of: end of the look-back.
        model_id: the challenger.
        previous_version: the champion; None if there was none to compare with.
        moved: number of the history record by which the challenger became active; None if it did not.
        gates: failed and undecided ones first.
        comparison: None if there was no champion to compare with.
        report_url: path of its report on the web server.
        waits: True if it awaits approval, and still can be approved.
    """

    decision_id: str
    verdict: Literal["PROMOTE", "AWAITING_APPROVAL", "REJECT", "HOLD"]
    dry_run: bool
    sentence: str
    as_of: datetime
    model_id: str
    previous_version: str | None
    moved: int | None
    gates: list[GateView]
    comparison: ComparisonView | None
    report_url: str
    waits: bool


class TrendPoint(WireView):
    """Fair macro-F1 of one decision: of the champion (before) and the challenger (after), None where undefined."""

    at: datetime
    decision_id: str
    verdict: str
    before: float | None
    after: float | None
