"""Reads the summary of a home: what runs, what was decided, what is due, what is broken, and what can be done now.

Models are described in `model_views`, decisions in `decision_views`, problems in `problems`, actions in `actions`, the registry as a whole
in `registry_summary`. Nothing here raises for what is in a home: what cannot be read is a problem with its fix. Reads only.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import dagster as dg

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.defs.automation.schedules import DAILY
from taskclf_dagster.defs.dagster_internals import is_schedule_stopped
from taskclf_dagster.defs.resources.signing_keys import open_keys
from taskclf_dagster.defs.runs.retrain_runs import (
    FINISHED,
    RetrainRun,
    describe_unfinished_retrain,
    find_unfinished_retrain,
    iterate_retrains,
)
from taskclf_dagster.domain.data.day_folders import find_passed_over
from taskclf_dagster.domain.data.feature_schema import SCHEMA_VERSIONS
from taskclf_dagster.domain.data.home_places import features_folder
from taskclf_dagster.domain.data.label_store import find_store
from taskclf_dagster.domain.data.passed_over import describe_passed_over
from taskclf_dagster.domain.decision.last_decided import LAST_DECIDED
from taskclf_dagster.domain.monitoring.live_performance import LivePerformance, measure_live_performance
from taskclf_dagster.domain.scheduling.triggers import TriggerAssessment, assess_trigger
from taskclf_dagster.domain.storage.signatures import NO_KEYS, Keys
from taskclf_dagster.errors import TaskclfDagsterError
from taskclf_dagster.home import Home
from taskclf_dagster.status.actions import Circumstances, find_actions
from taskclf_dagster.status.decision_records import JobRecord
from taskclf_dagster.status.job_history import REPORT_PATH, describe_job
from taskclf_dagster.status.kept_results import KeptResult, take_stamps
from taskclf_dagster.status.model_views import describe_live
from taskclf_dagster.status.overview_records import (
    ActiveModelView,
    DaemonView,
    DueView,
    LabelsView,
    Overview,
    Problem,
    ProblemKind,
)
from taskclf_dagster.status.problems import describe_error, find_data_problems, find_folder_problems, has_windows
from taskclf_dagster.status.reader import describe_idle, find_next_tick, is_daemon_running
from taskclf_dagster.status.registry_summary import RegistrySummary, stamp_registry, summarize_registry
from taskclf_dagster.status.run_history import read_retrain
from taskclf_dagster.status.run_progress import StepTimesReader, read_progress
from taskclf_dagster.status.sentences import DAEMON_RUNS, NO_DAEMON_RUNS, make_sentence

_Part = TypeVar("_Part")

DISABLED = "Nothing is launched by itself: `enabled` is false."


STOPPED = f"Nothing is launched by itself: the schedule {DAILY} was switched off in the browser."


NO_WINDOWS = "taskclf has not recorded a day in this home yet: let it run for some days, and label what you did."


@dataclass
class _Facts:
    """The contents of the files of a home.

    Attributes:
        config: the present configuration; the shipped one if it is not valid.
        keys: check signatures.
        policy: the configuration as text.
        problems: what cannot be read, or is broken.
    """

    config: RetrainConfig
    keys: Keys = NO_KEYS
    policy: str = ""
    registry: RegistrySummary = field(default_factory=RegistrySummary)
    trigger: TriggerAssessment | None = None
    live: LivePerformance | None = None
    passed_over: str = ""
    problems: list[Problem] = field(default_factory=list)

    def attempt(self, read: Callable[[], _Part], kind: ProblemKind, title: str) -> _Part | None:
        """Returns what a function reads; None if it raises one of our errors, or cannot open a file, which is a problem then."""
        try:
            return read()
        except (TaskclfDagsterError, OSError) as error:
            self.problems.append(describe_error(error, kind, title))
            return None


class OverviewReader:
    """Reads the summary of one home again and again, and keeps the parts that cost much until the files behind them change.

    A decision and a change of the active model show at once; what depends on time alone shows after SHORTEST_SECONDS, or after COST_FACTOR
    times what it costs. Not for several threads at once.

    Args:
        home: the taskclf home.
        reports: the path of its reports on the web server.
    """

    def __init__(self, home: Home, reports: str = REPORT_PATH) -> None:
        self._home, self._reports = home, reports
        self._registry: KeptResult[RegistrySummary] = KeptResult()
        self._trigger: KeptResult[TriggerAssessment] = KeptResult()
        self._live: KeptResult[LivePerformance] = KeptResult()
        self._passed_over: KeptResult[str] = KeptResult()
        self._job: KeptResult[JobRecord | None] = KeptResult()
        self._times = StepTimesReader()

    def read(
        self, instance: dg.DagsterInstance, load_config: Callable[[], RetrainConfig], now: datetime, *, read_only: bool = False
    ) -> Overview:
        """Reads the summary.

        Args:
            instance: the Dagster instance.
            load_config: reads the present configuration; its error is one of the problems.
            now: the present time.
            read_only: True if nothing can be changed by those to whom it is shown.
        """
        home, facts = self._home, self._gather(load_config, now)
        unfinished = find_unfinished_retrain(instance, home)
        shown = unfinished or next(iterate_retrains(instance, home, statuses=FINISHED), None)
        job = None if shown is None else self._describe_job(instance, shown)
        running, stopped = is_daemon_running(instance, now), is_schedule_stopped(instance, DAILY)
        enabled, times = facts.config.scheduling.enabled and not stopped, self._times.read(instance, home)
        model = _complete(facts.registry.model, facts.live, now)
        under_way = None if unfinished is None else f"A retrain is {unfinished.state} already."
        return Overview(
            home=home.display_name,
            is_demo=home.is_demo,
            state="idle" if shown is None else shown.state,
            reason=make_sentence(describe_idle(home)) if shown is None else _explain(shown, job, facts.registry),
            read_only=read_only,
            job=job,
            progress=None if unfinished is None else read_progress(instance, home, unfinished, now=now, times=times),
            active_model=model,
            last_decision=facts.registry.last_decision,
            trials=facts.registry.trials,
            trend=facts.registry.trend,
            due=_describe_due(facts, "" if enabled else STOPPED if stopped else DISABLED),
            next_tick=find_next_tick(facts.config, now=now) if enabled else None,
            enabled=enabled,
            labels=_describe_labels(home, facts),
            daemon=DaemonView(running=running, sentence=DAEMON_RUNS if running else NO_DAEMON_RUNS),
            warnings=_find_warnings(facts),
            problems=facts.problems,
            actions=find_actions(
                home,
                Circumstances(read_only, running, under_way, facts.problems, times.whole, None if has_windows(home) else NO_WINDOWS),
                trigger=facts.trigger,
                waiting=facts.registry.waiting,
                targets=facts.registry.targets,
                blocked=facts.registry.blocked,
                config=facts.config,
                active_id=None if model is None else model.model_id,
            ),
        )

    def _gather(self, load_config: Callable[[], RetrainConfig], now: datetime) -> _Facts:
        """Reads the files of the home; what cannot be read is among the problems."""
        home, facts = self._home, _Facts(RetrainConfig.model_validate({}))
        facts.config = facts.attempt(load_config, "config", "The settings are not valid") or facts.config
        facts.policy = facts.config.model_dump_json()
        signing = facts.config.signing
        facts.keys = facts.attempt(lambda: open_keys(home, signing, signs=False), "config", "Signatures cannot be checked") or NO_KEYS
        try:
            home.require()
        except (TaskclfDagsterError, OSError) as error:
            facts.problems.append(describe_error(error, "home", "The home cannot be opened"))
            return facts
        key = facts.policy, stamp_registry(home)
        registry = facts.attempt(
            lambda: self._registry.get(key, lambda: summarize_registry(home, facts.config, facts.keys, reports=self._reports)),
            "registry",
            "Models and history cannot be read",
        )
        facts.registry = registry or facts.registry
        facts.problems += facts.registry.problems
        facts.problems += facts.attempt(lambda: find_folder_problems(home), "home", "The home cannot be opened") or []
        self._gather_data(facts, now)
        return facts

    def _gather_data(self, facts: _Facts, now: datetime) -> None:
        """Reads windows, labels and scores."""
        home, config = self._home, facts.config
        folders = facts.attempt(lambda: _list_local_folders(home), "config", "The settings file of the home cannot be read")
        if folders is None:
            return
        data = take_stamps([find_store(home), home.settings_file, *folders])
        pointer = take_stamps([home.active_pointer, home.inference_policy, home.active_history])
        key = facts.policy, data, pointer, take_stamps([home.decisions / LAST_DECIDED])
        facts.trigger = facts.attempt(
            lambda: self._trigger.get(key, lambda: assess_trigger(home, config=config, now=now)), "data", "The labels cannot be read"
        )
        if facts.trigger is None:
            return
        facts.problems += find_data_problems(home, facts.trigger)
        seen = facts.policy, pointer, take_stamps([find_store(home), home.scores])
        facts.live = facts.attempt(
            lambda: self._live.get(seen, lambda: measure_live_performance(home, as_of=now, config=config, keys=facts.keys)),
            "data",
            "The scores of the last days cannot be read",
        )
        facts.passed_over = (
            facts.attempt(
                lambda: self._passed_over.get(data, lambda: describe_passed_over(find_passed_over(home))),
                "data",
                "The folders of the windows cannot be read",
            )
            or ""
        )

    def _describe_job(self, instance: dg.DagsterInstance, run: RetrainRun) -> JobRecord | None:
        key = run.run_id, run.run.status, stamp_registry(self._home)

        def describe() -> JobRecord | None:
            retrain = read_retrain(instance, self._home, run.run_id)
            return None if retrain is None else describe_job(retrain, self._reports)

        return self._job.get(key, describe)


def read_overview(
    instance: dg.DagsterInstance, home: Home, load_config: Callable[[], RetrainConfig], now: datetime, *, read_only: bool = False
) -> Overview:
    """Reads the summary of a home once; the reader of the same name keeps what costs much."""
    return OverviewReader(home).read(instance, load_config, now, read_only=read_only)


def _complete(model: ActiveModelView | None, live: LivePerformance | None, now: datetime) -> ActiveModelView | None:
    """Returns the active model with its age and its live figures."""
    if model is None:
        return None
    age = None if model.trained_at is None else max(0.0, (now - model.trained_at) / timedelta(days=1))
    return model.model_copy(update={"age_days": age, "live": None if live is None else describe_live(live, model.model_id)})


def _explain(run: RetrainRun, job: JobRecord | None, registry: RegistrySummary) -> str:
    """Returns the reason of the state of a run."""
    if run.state in ("queued", "running"):
        return make_sentence(describe_unfinished_retrain(run))
    last = registry.last_decision
    if job is None or (run.state == "completed" and last is not None and last.decision_id == job.decision_id):
        return "" if last is None else last.sentence
    return make_sentence(job.error_message or job.sentence or job.reason or run.state)


def _describe_due(facts: _Facts, obstacle: str) -> DueView:
    trigger = facts.trigger
    if trigger is None:
        problem = next((problem for problem in facts.problems if problem.kind in ("data", "home")), None)
        reason = "It is not known." if problem is None else f"It is not known: {problem.title[0].lower()}{problem.title[1:]}."
        return DueView(is_due=False, reason=reason, at=None)
    reason = make_sentence(trigger.reason)
    return DueView(is_due=trigger.launch, reason=f"{reason} {obstacle}".rstrip(), at=trigger.due_at)


def _describe_labels(home: Home, facts: _Facts) -> LabelsView:
    trigger, needed = facts.trigger, facts.config.scheduling.min_new_labels
    if trigger is None:
        return LabelsView(since=None, needed=needed, summary="The labels cannot be read.")
    fates = trigger.data.label_fates
    if fates is not None:
        summary = make_sentence(fates.summary)
    elif not trigger.data.assessed:
        summary = "There are too many windows to count here what each label covers; a retrain does."
    else:
        summary = "The windows cannot be used." if has_windows(home) else NO_WINDOWS
    return LabelsView(since=trigger.changed_spans, needed=needed, summary=summary)


def _list_local_folders(home: Home) -> list[Path]:
    """Returns the folders of windows that have a stamp; what is in an object store is looked at when the result is too old."""
    return [folder for version in SCHEMA_VERSIONS if isinstance(folder := features_folder(home, version), Path)]


def _find_warnings(facts: _Facts) -> list[str]:
    fates = None if facts.trigger is None else facts.trigger.data.label_fates
    found = [*facts.registry.warnings, *([facts.passed_over] if facts.passed_over else []), *([] if fates is None else fates.causes)]
    return [make_sentence(each) for each in found]
