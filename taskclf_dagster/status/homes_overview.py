"""Reads many homes at a glance: one row for each, those that need a person first.

A home that cannot be read is a row that says so; it disturbs no other one. `OverviewReader` reads everything about one home. Reads only.
"""

import logging
import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import dagster as dg

from taskclf_dagster.config.home_directory import ListedHome
from taskclf_dagster.config.settings import RetrainConfig, ScheduleSettings
from taskclf_dagster.defs.automation.schedules import DAILY
from taskclf_dagster.defs.dagster_internals import is_schedule_stopped
from taskclf_dagster.defs.runs.run_tags import BY_HAND, CAUSE_TAG, home_tag
from taskclf_dagster.domain.scheduling.cadence import judge_age
from taskclf_dagster.domain.scheduling.triggers import SLACK, Due, find_due, judge_new_labels
from taskclf_dagster.home import Home
from taskclf_dagster.status.home_glance import HomeGlance, read_glance, stamp_glance
from taskclf_dagster.status.home_runs import HomeRuns, RunsReader
from taskclf_dagster.status.homes_records import Attention, HomeRow, HomesOverview
from taskclf_dagster.status.overview_records import DaemonView, Problem
from taskclf_dagster.status.reader import find_next_tick, is_daemon_running
from taskclf_dagster.status.records import State
from taskclf_dagster.status.sentences import DAEMON_RUNS, NO_DAEMON_RUNS, make_sentence

NEVER = "No retrain was ever launched for this home."


_ORDER: Mapping[Attention | None, int] = {"broken": 0, "failed": 1, "waiting": 2, None: 3}


@dataclass
class _Kept:
    """The contents of one home, and the stamps of the files that they were read from."""

    home: Home
    key: Hashable
    glance: HomeGlance


@dataclass
class HomesReader:
    """Reads many homes again and again; a home is read anew when one of its files has changed. Not for several threads at once."""

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    _kept: dict[str, _Kept] = field(default_factory=dict)
    _ticks: dict[ScheduleSettings, datetime] = field(default_factory=dict)
    _runs: RunsReader = field(default_factory=RunsReader)

    def read(
        self,
        instance: dg.DagsterInstance,
        homes: Sequence[ListedHome],
        now: datetime,
        *,
        problems: Sequence[str] = (),
        read_only: bool = False,
    ) -> HomesOverview:
        """Reads the homes.

        Args:
            instance: the Dagster instance of all of them.
            homes: as the homes file lists them, also those that cannot be used.
            now: the present time.
            problems: what is wrong with the list of homes itself.
            read_only: True if nothing can be changed by those to whom it is shown.
        """
        names = {listed.name for listed in homes}
        self._kept = {name: kept for name, kept in self._kept.items() if name in names}
        self._ticks = {schedule: tick for schedule, tick in self._ticks.items() if tick > now}
        runs, stopped = self._runs.read(instance, now), is_schedule_stopped(instance, DAILY)
        running = is_daemon_running(instance, now)
        rows = [self._read_row(instance, listed, runs, stopped=stopped, now=now) for listed in homes]
        return HomesOverview(
            read_at=now,
            read_only=read_only,
            daemon=DaemonView(running=running, sentence=DAEMON_RUNS if running else NO_DAEMON_RUNS),
            problems=list(problems),
            homes=sorted(rows, key=lambda row: (_ORDER[row.attention], row.run_id is None, row.name)),
        )

    def _read_row(
        self, instance: dg.DagsterInstance, listed: ListedHome, runs: Mapping[str, HomeRuns], *, stopped: bool, now: datetime
    ) -> HomeRow:
        name, home = listed.name, listed.home
        if listed.problem is not None:
            return _describe(
                name, home, _glance_at_problem(listed.problem, "Correct what is named; it counts at once."), HomeRuns(), now=now
            )
        try:
            glance, own = self._glance(name, home), runs.get(home_tag(home), HomeRuns())
            failure = None if own.ended is None or own.ended.state != "failed" else self._runs.explain(instance, own.ended)
            tick = None if stopped else self._find_tick(glance, now)
            return _describe(name, home, glance, own, failure=failure, tick=tick, now=now)
        except Exception as error:  # a defect that one home brings out must not hide the others
            logging.getLogger(__name__).exception("the home %s cannot be read", name, exc_info=error)
            words = " ".join(str(error).split()) or type(error).__name__
            return _describe(name, home, _glance_at_problem(words, "The log of the server has more."), HomeRuns(), now=now)

    def _glance(self, name: str, home: Home) -> HomeGlance:
        key, kept = stamp_glance(home, self.environ), self._kept.get(name)
        if kept is None or (kept.home, kept.key) != (home, key):
            kept = self._kept[name] = _Kept(home, key, read_glance(home, self.environ))
        return kept.glance

    def _find_tick(self, glance: HomeGlance, now: datetime) -> datetime | None:
        if not glance.config.scheduling.enabled:
            return None
        schedule = glance.config.scheduling.schedule
        if schedule not in self._ticks:
            self._ticks[schedule] = find_next_tick(glance.config, now=now)
        return self._ticks[schedule]


def _glance_at_problem(detail: str, fix: str) -> HomeGlance:
    problem = Problem(kind="home", title="This home cannot be used", detail=detail, fix=fix)
    return HomeGlance(RetrainConfig.model_validate({}), problems=[problem])


def _describe(
    name: str,
    home: Home,
    glance: HomeGlance,
    runs: HomeRuns,
    *,
    failure: str | None = None,
    tick: datetime | None = None,
    now: datetime,
) -> HomeRow:
    due, attention = _find_due(glance, now), _find_attention(glance, runs)
    return HomeRow(
        name=name,
        home=home.display_name,
        attention=attention,
        sentence=_say(glance, runs, attention, failure),
        problems=len(glance.problems),
        state=_find_state(glance, runs),
        run_id=None if runs.unfinished is None else runs.unfinished.run_id,
        run_since=None if runs.unfinished is None else runs.unfinished.began,
        active_model=glance.model_id,
        trained_at=glance.trained_at,
        outcome=None if glance.last is None else glance.last.outcome,
        decided_at=None if glance.last is None else glance.last.decided_at,
        decision_id=glance.decision_id,
        moved=glance.moved,
        is_due=due.cause is not None,
        due_reason=make_sentence(due.reason),
        due_at=due.due_at,
        next_tick=tick,
        labels_since=glance.changed_spans,
        labels_needed=glance.config.scheduling.min_new_labels,
    )


def _find_attention(glance: HomeGlance, runs: HomeRuns) -> Attention | None:
    if glance.problems:
        return "broken"
    if runs.unfinished is None and runs.ended is not None and runs.ended.state == "failed":
        return "failed"
    return "waiting" if glance.waiting is not None else None


def _find_state(glance: HomeGlance, runs: HomeRuns) -> State:
    """Returns the state of the newest run; without one, of what the home itself remembers."""
    newest = runs.unfinished or runs.ended
    if newest is not None:
        return newest.state
    if glance.last is None:
        return "idle"
    return "skipped" if glance.last.outcome == "SKIP" else "completed"


def _find_due(glance: HomeGlance, now: datetime) -> Due:
    """Returns the trigger that is due. The data is not looked at, so a retrain may still find too little of it."""
    if glance.changed_spans is None:
        return Due(None, "it is not known", None)
    settings = glance.config.scheduling
    days, max_days = settings.global_retrain_cadence_days, settings.max_days_since_training
    age = judge_age(glance.trained_at, glance.last, now=now, max_days=max_days, cadence_days=days, slack=SLACK)
    return find_due(glance.last, judge_new_labels(glance.changed_spans, settings), age, settings=settings, now=now)


def _say(glance: HomeGlance, runs: HomeRuns, attention: Attention | None, failure: str | None) -> str:
    """Returns the one sentence that matters most about a home."""
    if attention == "broken":
        problem = glance.problems[0]
        return f"{problem.title}: {make_sentence(problem.detail)} {problem.fix}".rstrip()
    if attention == "failed":
        return f"The last retrain failed: {make_sentence(failure or 'its reason is not known')}"
    if attention == "waiting":
        return make_sentence(glance.waiting_sentence)
    if runs.unfinished is not None:
        return f"A retrain is {runs.unfinished.state} (cause: {runs.unfinished.tags.get(CAUSE_TAG, BY_HAND)})."
    if glance.last is None:
        return NEVER
    return glance.sentence or make_sentence(f"the last retrain ended with {glance.last.outcome}")
