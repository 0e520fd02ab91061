"""Shows the state of the present home in a few lines, and the next commands to type: `taskclf-dagster` without a command.

Reads as little as possible, because it must be quick: neither windows nor Dagster. `status` shows everything.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from taskclf_dagster.cli.common import choose_home, load_config, now
from taskclf_dagster.cli.instance_glance import InstanceGlance, glance_at_instance
from taskclf_dagster.cli.output import make_table, say, say_block
from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.label_fingerprints import count_changed_spans
from taskclf_dagster.domain.data.label_store import read_fingerprints
from taskclf_dagster.domain.decision.last_decided import LastDecided, read_last_decided
from taskclf_dagster.domain.scheduling.cadence import check_retrain_due
from taskclf_dagster.domain.scheduling.triggers import describe_changed_spans
from taskclf_dagster.domain.storage.signatures import NO_KEYS
from taskclf_dagster.errors import HomeNotFoundError, TaskclfDagsterError
from taskclf_dagster.home import Home
from taskclf_dagster.status.overview_records import Problem
from taskclf_dagster.status.problems import describe_error, has_windows
from taskclf_dagster.status.registry_summary import RegistrySummary, summarize_registry

MAX_STEPS = 3


HEARTBEAT_SECONDS = 180.0
"""A daemon whose last heartbeat is older than this does not run."""


NO_WINDOWS = "taskclf has not recorded a day in this home yet"


UNFINISHED = {"QUEUED": "waits in the queue", "NOT_STARTED": "waits", "STARTING": "starts", "STARTED": "runs", "CANCELING": "is ending"}
"""Dagster's statuses of a run that has not ended, as words."""


@dataclass(frozen=True)
class HomeState:
    """The present state of a home, as far as it is read quickly.

    Attributes:
        registry: the models and the decisions.
        last: the last decided run; None if there is none.
        changed_spans: number of label spans that changed since; None if they cannot be read.
        has_windows: True if taskclf has recorded a day.
        due: True if a retrain is due.
        due_reason: why, or why not and until when.
        instance: a glance at the Dagster instance; None if there is none.
        problems: what is broken.
    """

    registry: RegistrySummary = field(default_factory=RegistrySummary)
    last: LastDecided | None = None
    changed_spans: int | None = None
    has_windows: bool = False
    due: bool = False
    due_reason: str = ""
    instance: InstanceGlance | None = None
    problems: list[Problem] = field(default_factory=list)

    @property
    def daemon_runs(self) -> bool:
        """True if the daemon gave a sign of life lately."""
        age = None if self.instance is None else self.instance.heartbeat_age
        return age is not None and age <= HEARTBEAT_SECONDS


def show_next_steps() -> None:
    """Prints the state of the default home and what to do next. Never fails: what cannot be read is a line of it."""
    try:
        home = choose_home(None)
        home.require()
    except HomeNotFoundError:
        _print_steps("There is no taskclf home yet.", [], find_first_steps())
        return
    except TaskclfDagsterError as error:
        say(str(error))
        return
    try:
        state = read_home_state(home)
        _print_steps(home.display_name, list(_describe(state)), list(find_next_steps(state))[:MAX_STEPS])
    except Exception as error:  # the list of commands below must appear, whatever is in the home
        say(f"{home.display_name}: it cannot be read: {error}")
        _print_steps("", [], [("taskclf-dagster registry fsck", "says what is damaged")])


def read_home_state(home: Home) -> HomeState:
    """Reads the state of a home."""
    problems: list[Problem] = []
    try:
        config = load_config(home, None)
    except TaskclfDagsterError as error:
        problems.append(describe_error(error, "config", "The configuration is not valid"))
        config = RetrainConfig.model_validate({})
    registry, last = summarize_registry(home, config, NO_KEYS), read_last_decided(home)
    problems += registry.problems
    cadence = check_retrain_due(last, now=now(), cadence_days=config.scheduling.global_retrain_cadence_days)
    changed, due, reason = None, cadence.due, cadence.reason
    try:
        changed = count_changed_spans(home.decisions, last.label_watermark if last else None, read_fingerprints(home))
    except (TaskclfDagsterError, OSError) as error:
        problems.append(describe_error(error, "data", "The labels cannot be read"))
    recorded = has_windows(home)
    if changed is not None and not due and changed >= config.scheduling.min_new_labels:
        due, reason = True, describe_changed_spans(changed, config.scheduling)
    if not recorded:
        due, reason = False, NO_WINDOWS
    return HomeState(
        registry=registry,
        last=last,
        changed_spans=changed,
        has_windows=recorded,
        due=due,
        due_reason=reason,
        instance=glance_at_instance(home),
        problems=problems,
    )


def find_first_steps() -> list[tuple[str, str]]:
    """Returns the commands for a person without a home, each with what it does."""
    return [
        ("taskclf-dagster demo demo_home", "makes a home with generated data, to try everything on"),
        ("export TASKCLF_HOME=$PWD/demo_home", "makes it the home of the commands below; or name your own there"),
    ]


def find_next_steps(state: HomeState) -> Iterator[tuple[str, str]]:
    """Yields commands, each with what it does, the most urgent first."""
    kinds = {problem.kind for problem in state.problems}
    if "config" in kinds:
        yield "taskclf-dagster config check", "says what is wrong with the settings"
    if "registry" in kinds:
        yield "taskclf-dagster registry fsck", "says what is damaged, and what to do about it"
        yield "taskclf-dagster registry repair", "restores the last good state"
    if "data" in kinds:
        yield "taskclf-dagster check-retrain", "says what is wrong with windows and labels"
    waiting = state.registry.waiting.decision
    if waiting is not None:
        yield f"taskclf-dagster report {waiting.decision_id} --open", "shows the model that waits for approval"
        yield "taskclf-dagster approve", "makes it the running model"
    unfinished = state.instance is not None and state.instance.status in UNFINISHED
    if unfinished:
        yield "taskclf-dagster status", "shows how far the retrain is"
    elif not kinds and waiting is None:
        yield from _find_step_of_labels(state)
    if state.instance is not None and state.instance.status == "FAILURE":
        yield "taskclf-dagster status", "says why the last retrain failed"
    if not state.daemon_runs:
        yield "taskclf-dagster serve", "starts the page, and what runs by itself"
    yield "taskclf-dagster history", "lists every retrain and what it decided"


def _find_step_of_labels(state: HomeState) -> Iterator[tuple[str, str]]:
    if not state.has_windows or (state.last is None and not state.changed_spans):
        yield "taskclf-dagster check-retrain", "says what is missing: let taskclf record some days, and label them there"
    elif state.due:
        yield "taskclf-dagster retrain", "trains a model and decides about it"
    else:
        yield "taskclf-dagster suggest", "lists what is worth labelling next"


def _describe(state: HomeState) -> Iterator[tuple[str, str]]:
    """Yields the lines about a home, each with its name."""
    model, decision, instance = state.registry.model, state.registry.last_decision, state.instance
    trained = "" if model is None or model.trained_at is None else f", trained on {model.trained_at:%Y-%m-%d}"
    yield "runs", "no model yet" if model is None else f"{model.model_id}{trained}"
    if instance is not None and instance.status in UNFINISHED:
        yield "retrain", f"run {instance.run_id} {UNFINISHED[instance.status]}"
    if decision is not None:
        yield "last", f"{decision.as_of:%Y-%m-%d}: {decision.sentence}"
    yield "due", f"{'yes' if state.due else 'no'}: {state.due_reason}"
    if not state.daemon_runs:
        yield "daemon", "none is running, so nothing happens by itself"
    for problem in state.problems:
        yield "problem", f"{problem.title}: {problem.detail}"


def _print_steps(title: str, lines: list[tuple[str, str]], steps: list[tuple[str, str]]) -> None:
    if title:
        say(title, bold=True)
    if lines:
        say_block(make_table([["", *line] for line in lines], tablefmt="plain", wraps=[2]))
    say("Next:", bold=True)
    say_block(make_table([["", *step] for step in steps], tablefmt="plain", wraps=[2]))
    say()
