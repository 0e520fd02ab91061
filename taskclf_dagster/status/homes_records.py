"""The records of many homes at a glance: one row for each home, with a sentence for a person.

Add a field here, and its value in `homes_overview`. Plain data: nothing is read here.
"""

from datetime import datetime
from typing import Literal

from taskclf_dagster.status.overview_records import DaemonView
from taskclf_dagster.status.records import State, WireView

Attention = Literal["broken", "failed", "waiting"]
"""The reason why a home needs a person: something in it is broken, its last retrain failed, or a model waits for approval."""


class HomeRow(WireView):
    """One home of many.

    Attributes:
        name: its name in the homes file, in the address of its page and in the paths of its operations.
        home: display name of its folder.
        attention: why it needs a person; None if it does not.
        sentence: what is wrong, what waits, what runs, or what was decided last.
        problems: number of things that are broken; of windows, only whether the label store can be read is looked at.
        state: state of the unfinished run, else of the last run; of a home without runs here, completed if it has a decision.
        run_id: the unfinished retrain; None without one.
        run_since: start of its process; while it is queued, time of the launch.
        active_model: id of the model that taskclf runs; None if no model can run.
        trained_at: time of its training; None if its bundle does not say.
        outcome: the last verdict, or SKIP; None before the first.
        decided_at: time of that decision or skip.
        decision_id: id of the last decision that is not a dry run; None without one.
        moved: True if the model of that decision became the active one.
        is_due: True if a trigger of a retrain is due, whether or not its data suffices.
        due_reason: the trigger, or why none is due and until when.
        due_at: latest time at which one is due if no label arrives; None if that is now or unknown.
        next_tick: next tick of the home's daily schedule; None if nothing is launched by itself.
        labels_since: number of label spans added, changed or deleted since the last decided run; None if they cannot be read.
        labels_needed: that number at which they trigger a retrain.
    """

    name: str
    home: str
    attention: Attention | None
    sentence: str
    problems: int
    state: State
    run_id: str | None
    run_since: datetime | None
    active_model: str | None
    trained_at: datetime | None
    outcome: str | None
    decided_at: datetime | None
    decision_id: str | None
    moved: bool
    is_due: bool
    due_reason: str
    due_at: datetime | None
    next_tick: datetime | None
    labels_since: int | None
    labels_needed: int


class HomesOverview(WireView):
    """Many homes at a glance.

    Attributes:
        read_at: time of the reading.
        read_only: True if nothing can be changed over page and API.
        user: the signed-in person; None if nobody signs in.
        daemon: Dagster's daemon, which serves all homes.
        problems: what is wrong with the list of homes itself.
        homes: those that need a person first, then those that retrain, then by name.
    """

    read_at: datetime
    read_only: bool
    user: str | None = None
    daemon: DaemonView
    problems: list[str]
    homes: list[HomeRow]
