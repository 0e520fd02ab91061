"""Homes at the stages of a retrain, and ways to run Dagster on them; built once for all tests of a process and copied by each test."""

import json
import logging
import multiprocessing
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.registry.fsck import check_registry
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.home import Home
from taskclf_dagster_tests.runs import forget_home
from taskclf_dagster_tests.scenario import AS_OF, DAY

PROJECT = Path(__file__).resolve().parents[2]
FIRST, SECOND = AS_OF + timedelta(hours=1), AS_OF + DAY + timedelta(hours=1)
"""When the champion came to run, and when the runs of these tests happen."""

SMALL = (
    "min_class_windows: 20\nmin_windows: 50\n"
    "max_negative_flips: 1.0\nmax_flip_excess: 1.0\nsearch: off\ntrain_params: {num_boost_round: 10}\n"
)
CALM = "min_user_days: 2\nadvice: {max_flap_rate: 1.0, max_flap_rate_smoothed: 1.0}\n"
ALARMED = "min_user_days: 1000\nadvice: {max_flap_rate: 0.0, max_flap_rate_smoothed: 0.0}\n"
QUICK = f"{SMALL}prove_reproducible: false\n"
VERDICTS = {
    "PROMOTE": f"auto_promote: true\n{QUICK}",
    "REJECT": f"auto_promote: true\n{QUICK}gates: {{min_macro_f1: 0.999}}\n",
    "AWAITING_APPROVAL": QUICK,
}
"""Settings that make the same challenger end in each verdict."""

TRAIN = ("labeled_windows", "dataset_snapshot", "challenger_model")
DECIDE = ("challenger_report", "champion_report", "promotion_decision")
APPLY = ("active_pointer",)
WARNINGS = ("enough_user_days", "flap_rate_is_low")
PATIENCE = 300.0
"""Seconds that another process may take on a busy machine."""

PROCESSES = multiprocessing.get_context("forkserver")
"""Forks from a process that has imported all that a retrain imports, because that takes longer than what most of these processes do."""
PROCESSES.set_forkserver_preload(
    [__name__, "lightgbm", "matplotlib.backends.backend_agg", "matplotlib.figure", "PIL.Image", "pyarrow.pandas_compat", "sklearn.metrics"]
)


# --- A home, and ways to run things on it ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stage:
    """A home, the folder of an instance, and a folder for settings."""

    home: Home
    dagster: Path
    folder: Path

    def copy(self, folder: Path) -> "Stage":
        shutil.copytree(self.home.root, folder / "home")
        forget_home(self.dagster)
        return Stage(Home(folder / "home"), self.dagster, folder)

    def config(self, verdict: str, more: str = "") -> Path:
        path = self.folder / f"{verdict}-{abs(hash(more))}.yaml"
        path.write_text(VERDICTS[verdict] + more, encoding="utf-8")
        return path

    def instance(self) -> dg.DagsterInstance:
        return dg.DagsterInstance.from_config(str(self.dagster))

    def retrain(self, config: Path, **form: object) -> dg.ExecuteInProcessResult:
        """The whole job, on an instance in memory."""
        with dg.DagsterInstance.ephemeral() as instance:
            return (
                definitions_of(self.home.root)
                .resolve_job_def("retrain")
                .execute_in_process(run_config={"config_path": str(config), **form}, instance=instance, raise_on_error=False)
            )

    def materialize(self, *assets: str, config: Path) -> dg.ExecuteInProcessResult:
        """Some of the assets, as a launch from the lineage page does it, on an instance in memory."""
        with dg.DagsterInstance.ephemeral() as instance:
            return materialize(self.home.root, assets, config, instance)

    def pointer(self) -> bytes:
        return self.home.active_pointer.read_bytes()

    def active(self) -> str:
        pointer = read_active(self.home)
        assert pointer is not None
        return pointer.name

    def decision(self) -> PromotionDecision:
        """The one made last."""
        path = self.home.records / "promotion_decision" / "latest.json"
        return PromotionDecision.model_validate(json.loads(path.read_text(encoding="utf-8")))

    def promotions(self) -> Counter[str]:
        """How often each decision moved the pointer."""
        return Counter(entry.decision_id or "" for entry in read_history(self.home).moves if entry.action == "promote")

    def damage(self) -> list[str]:
        return [f"{finding.promise} {finding.detail}" for finding in check_registry(self.home) if finding.severity == "damage"]


def definitions_of(root: Path, **more: Any) -> dg.Definitions:
    return build_definitions(home=HomeResource(root=str(root)), clock=ClockResource(fixed=SECOND.isoformat()), **more)


def materialize(root: Path, assets: tuple[str, ...], config: Path, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    settings = {"resources": {"run_settings": {"config": {"config_path": str(config)}}}}
    return (
        definitions_of(root)
        .resolve_implicit_global_asset_job_def()
        .execute_in_process(
            asset_selection=[dg.AssetKey(name) for name in assets], run_config=settings, instance=instance, raise_on_error=False
        )
    )


def made(result: Any) -> set[str]:
    return {event.asset_key.to_user_string() for event in result.all_events if event.is_step_materialization}


def checks_of(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()}


# --- A job that can be executed again -----------------------------------------------------------------------------------------------

BETWEEN_STEPS: dict[str, Callable[[], object]] = {}
"""What happens as soon as a step has ended well; a test fills it."""


def retrain_job_of(root: str) -> dg.JobDefinition:
    """The job `retrain` on one home, which Dagster makes again when it re-executes a run."""
    return definitions_of(Path(root), loggers={"console": _meddler}).resolve_job_def("retrain")


def reconstructable(stage: Stage) -> Any:
    """The same job, in a form that `execute_job` and a retry from failure take."""
    return dg.build_reconstructable_job(__name__, "retrain_job_of", (str(stage.home.root),))


class _Meddling(logging.Handler):
    """Does what a test has asked for as soon as a step has ended well."""

    def emit(self, record: logging.LogRecord) -> None:
        event = getattr(record, "dagster_meta", {}).get("dagster_event")
        if event is not None and event.is_step_success:
            BETWEEN_STEPS.get(event.step_key, lambda: None)()


@dg.logger(config_schema={"log_level": str})
def _meddler(_: dg.InitLoggerContext) -> logging.Logger:
    logger = logging.getLogger("taskclf_dagster_tests.meddler")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.handlers = [_Meddling()]
    return logger
