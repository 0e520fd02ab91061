"""The asset policy_replay: policies of retraining over the past of the home. Dagster concept: assets.

It takes minutes, so only a run of its own makes it: "Materialize all", a button for a retrain, leaves it out. Replaying belongs to
`domain.backtest`.
"""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg
from pydantic import Field

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.defs.assets.common import GROUP, OWNERS, materialized, open_watched_home
from taskclf_dagster.defs.display.replay_metadata import replay_metadata
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource, parse_as_of
from taskclf_dagster.defs.runs.retrain_runs import BACKTEST
from taskclf_dagster.defs.runs.time_zones import time_zone
from taskclf_dagster.domain.backtest.policies import BUILT_IN, list_policies
from taskclf_dagster.domain.backtest.replay import ReplayedTime, replay_policies
from taskclf_dagster.domain.backtest.replay_record import Replay
from taskclf_dagster.domain.backtest.shared_fits import Trainer
from taskclf_dagster.domain.backtest.workshop import Workshop
from taskclf_dagster.domain.reporting.replay_report import replay_report_path, write_replay_report
from taskclf_dagster.entry_paths import require_absolute
from taskclf_dagster.home import Home
from taskclf_dagster.progress import Progress
from taskclf_dagster.provenance import code_version, cores, library_versions

BACKTEST_POOL = "backtest"
"""One replay at a time; it neither waits for a retrain nor holds one up."""


LEFT_OUT = "not replayed: a replay takes minutes, so it is only made by a run of its own, such as the job backtest"


DEFAULT_DAYS = 60


class BacktestParams(dg.Config):
    """The launch form of the job `backtest`."""

    first: str | None = Field(None, description="Start: an ISO date or time (UTC without an offset). Default: 60 days before the end.")
    last: str | None = Field(None, description="End, an ISO date or time likewise. Default: now.")
    policies: list[str] = Field(list(BUILT_IN), description="Names of built-in policies; the first is what the others are compared with.")
    policy_files: list[str] = Field([], description="Absolute paths of YAML files over the configuration, one policy each.")
    every: int = Field(1, ge=1, le=365, description="Schedule and sensor look on every n-th day only, at that part of the cost.")


@dg.asset(
    group_name=GROUP,
    pool=BACKTEST_POOL,
    dagster_type=dg.PythonObjectDagsterType(Replay),
    owners=OWNERS,
    kinds={"json"},
    output_required=False,
)
def policy_replay(
    context: dg.AssetExecutionContext, config: BacktestParams, home: HomeResource, run_settings: RunSettingsResource, clock: ClockResource
) -> Iterator[dg.MaterializeResult]:
    """Other policies of retraining on the past of this home, day by day, beside the present one.

    Changes nothing but artifacts/backtest, which holds datasets, fits and the HTML report. Decides nothing.
    """
    selected = context.run.asset_selection
    if context.job_name != BACKTEST and (selected is None or len(selected) > 1):
        context.log.info(LEFT_OUT)
        return
    taskclf_home = open_watched_home(context, home)
    settings, now = run_settings.load_config(taskclf_home), run_settings.resolve_as_of(clock)
    record = _replay(context, taskclf_home, config, settings, now)
    path = replay_report_path(taskclf_home)
    write_replay_report(path, record)
    context.log.info(f"report: {path}")
    yield materialized(record, metadata=replay_metadata(record, path))


def _replay(context: dg.AssetExecutionContext, home: Home, params: BacktestParams, present: RetrainConfig, now: datetime) -> Replay:
    last = now if params.last is None else parse_as_of(params.last)
    first = last - timedelta(days=DEFAULT_DAYS) if params.first is None else parse_as_of(params.first)
    files = [require_absolute(path, "policy_files") for path in params.policy_files]
    trainer = Trainer(1, code_version(), library_versions(), time.perf_counter, time.process_time)

    def report(progress: Progress) -> None:
        context.log.info(f"{progress.part} ({progress.done} of {progress.total} looks)")

    return replay_policies(
        Workshop.open(home, trainer),
        list_policies(present, files, params.policies),
        ReplayedTime(first, last, ZoneInfo(time_zone(present.scheduling.schedule)), params.every),
        present=present,
        workers=cores(),
        on_progress=report,
    )
