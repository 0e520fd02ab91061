"""Finds what is broken in a home, in plain words: models and their history, windows and labels, the settings, the folder itself.

Nothing here raises for what is in a file, and nothing is repaired; each problem says what would.
"""

from collections.abc import Iterator

from taskclf_dagster.domain.data.day_folders import list_days
from taskclf_dagster.domain.data.feature_schema import SCHEMA_VERSIONS
from taskclf_dagster.domain.decision.comparative_gates import REPAIR_HISTORY
from taskclf_dagster.domain.registry.active_model import ActiveModel
from taskclf_dagster.domain.registry.health import find_history_problem, find_policy_problem, find_usable_pointer
from taskclf_dagster.domain.registry.repair_target import advise_repair
from taskclf_dagster.domain.registry.state import RegistryState
from taskclf_dagster.domain.registry.write_problems import find_write_problems
from taskclf_dagster.domain.scheduling.triggers import TriggerAssessment
from taskclf_dagster.errors import HomeNotFoundError, TaskclfDagsterError, UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster.shown_text import counted
from taskclf_dagster.status.overview_records import Problem, ProblemKind

MAX_VIOLATIONS = 5
"""Largest number of violations of the data contract that are named; the others are counted."""


def describe_error(error: TaskclfDagsterError | OSError, kind: ProblemKind, title: str) -> Problem:
    """Returns the problem of an error that reading a part of the home raised."""
    if isinstance(error, UnreadableFileError):
        return Problem(kind=kind, title=title, detail=f"{error.path}: {error.reason}", fix=f"{error.fix.rstrip('.')}.")
    if isinstance(error, HomeNotFoundError):
        fix = "Set TASKCLF_HOME to the folder in which taskclf keeps its data, or make a demo home with `taskclf-dagster demo`."
        return Problem(kind="home", title="This folder is no taskclf home", detail=str(error), fix=fix)
    fix = "Correct what is named; nothing was changed, and what runs is as it was."
    return Problem(kind=kind, title=title, detail=str(error), fix=fix)


def find_registry_problems(state: RegistryState, active: ActiveModel) -> list[Problem]:
    """Returns what is wrong with pointer, inference policy, models and history."""
    named = [
        ("The file that names the running model cannot be used", find_usable_pointer(state).problem),
        ("The inference policy cannot be followed", find_policy_problem(state)),
    ]
    fix = f"{advise_repair(state)}." if any(problem is not None for _, problem in named) or active.state not in ("ok", "none") else ""
    problems = [
        Problem(kind="registry", title=title, detail=str(problem), fix=f"{fix[:1].upper()}{fix[1:]}")
        for title, problem in named
        if problem is not None
    ]
    if active.state not in ("ok", "none"):
        problems.insert(0, Problem(kind="registry", title="No model can run", detail=active.reason, fix=f"{fix[:1].upper()}{fix[1:]}"))
    damaged = find_history_problem(state)
    if damaged is not None:
        detail = f"{damaged}. Nothing is promoted until then."
        problems.append(Problem(kind="registry", title="The history of the running model is damaged", detail=detail, fix=REPAIR_HISTORY))
    return problems


def find_folder_problems(home: Home) -> list[Problem]:
    """Returns what would stop a retrain from writing its result."""
    return [
        Problem(kind="home", title="The home cannot be written to", detail=f"{problem.path}: {problem.reason}", fix=problem.fix)
        for problem in find_write_problems(home)
    ]


def find_data_problems(home: Home, trigger: TriggerAssessment) -> Iterator[Problem]:
    """Yields what is wrong with windows and labels; a home for which taskclf has not recorded a day yet has no problem."""
    if trigger.data.problem is not None and has_windows(home):
        fix = "Correct what is named, or let taskclf write it again."
        yield Problem(kind="data", title="The windows cannot be used", detail=trigger.data.problem, fix=fix)
    if trigger.changed_spans is None:
        fix = "Export the labels from taskclf again, or restore them from a backup."
        yield Problem(kind="data", title="The labels cannot be read", detail=trigger.reason, fix=fix)
    violations = trigger.data.violations
    if violations:
        further = len(violations) - MAX_VIOLATIONS
        detail = "; ".join(violations[:MAX_VIOLATIONS]) + (f"; and {counted(further, 'more violation')}" if further > 0 else "")
        fix = "Correct what is named: a retrain stops at it before anything is trained."
        yield Problem(kind="data", title="Windows or labels break the data contract", detail=detail, fix=fix)


def has_windows(home: Home) -> bool:
    """Returns True if taskclf has recorded a day, or its folder cannot be listed."""
    try:
        return any(list_days(home, version) for version in SCHEMA_VERSIONS)
    except TaskclfDagsterError:
        return True
