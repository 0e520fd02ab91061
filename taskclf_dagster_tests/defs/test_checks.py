"""Every check on data that must turn it red: whether it passed, how severe that is, what it says, and what the run does then."""

import json
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import dagster as dg
import pandas as pd
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.checks.data import HASH, KEYS, PRIVACY, SPLITS, dataset_snapshot_file, labeled_windows_file
from taskclf_dagster.defs.checks.promotion import REGISTRY_SPECS, registry_files
from taskclf_dagster.defs.checks.reports import has_not_trained_on_them, is_what_taskclf_runs, scored_on_the_challengers_windows
from taskclf_dagster.defs.display.model_metadata import advice_checks, reload_check
from taskclf_dagster.defs.display.promotion_metadata import AGREES, LOADS
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource
from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.data.labeled_windows import LabeledWindows
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.verification import verify_decision
from taskclf_dagster.domain.models.challenger import ChallengerModel
from taskclf_dagster.domain.registry.health import find_history_disagreement, find_pointer_problem
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.retraining.reports import ChallengerReport, ChampionReport, report_challenger
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import (
    MID,
    OLD,
    change_a_leaf,
    edit_json,
    home_with_champion,
    point_at,
    tiny_model,
    write_history,
    write_policy,
    write_tuned_policy,
)
from taskclf_dagster_tests.scenario import (
    AS_OF,
    DAY,
    MINUTE,
    learnable_home,
    make_home,
    retrain_config,
    span,
    windows_frame,
    write_day,
    write_labels,
    write_windows,
)

pytestmark = pytest.mark.filterwarnings(
    # Dagster warns about itself when a resource (the IO manager) has another resource (the home) within.
    "ignore:InitResourceContext.dagster_run is deprecated:DeprecationWarning"
)

ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
DATA_CHECKS = {
    "columns_are_complete_and_typed",
    "schema_hash_is_known",
    "values_are_in_bounds",
    "windows_are_whole_minutes",
    "windows_are_of_their_day",
    "labels_are_in_the_label_set",
    "spans_end_after_they_start",
}
NINE = AS_OF - DAY + timedelta(hours=9)
YESTERDAY = NINE.date()
FILE = f"data/processed/features_v1/date={YESTERDAY}/features.parquet"
LABELS_FILE = "data/processed/labels_v1/labels.parquet"


@dataclass(frozen=True)
class Run:
    """A finished run on a home: its checks by name, and what it made."""

    home: Home
    result: dg.ExecuteInProcessResult
    outcome: str | None

    @property
    def checks(self) -> dict[str, dg.AssetCheckEvaluation]:
        return {evaluation.check_name: evaluation for evaluation in self.result.get_asset_check_evaluations()}

    @property
    def red(self) -> set[str]:
        return {name for name, evaluation in self.checks.items() if not evaluation.passed}

    @property
    def made(self) -> set[str]:
        return {event.asset_key.to_user_string() for event in self.result.get_asset_materialization_events()}


def _run(home: Home, config: Path | None = None, **params: object) -> Run:
    definitions = build_definitions(home=HomeResource(root=str(home.root)), clock=ClockResource(fixed=AS_OF.isoformat()))
    form = params if config is None else {"config_path": str(config), **params}
    with dg.DagsterInstance.ephemeral() as instance:
        job = definitions.resolve_job_def("retrain")
        result = job.execute_in_process(run_config=form, instance=instance, raise_on_error=False)
        run = instance.get_run_by_id(result.run_id)
        return Run(home, result, None if run is None else run.tags.get("taskclf/outcome"))


def _overlay(folder: Path, text: str) -> Path:
    path = folder / "overlay.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def _facts(evaluation: dg.AssetCheckEvaluation | dg.AssetCheckResult) -> dict[str, object]:
    return {name: value.value if isinstance(value, dg.MetadataValue) else value for name, value in evaluation.metadata.items()}


def _labels_named(evaluation: dg.AssetCheckEvaluation) -> list[str]:
    return [label for label in LABELS if label in (evaluation.description or "")]


# --- labeled_windows: the data contract ---------------------------------------------------------------------------------------------


def _good_spans() -> list[dict[str, object]]:
    return [span(NINE, NINE + 60 * MINUTE, "Build")]


def _with_windows(**overrides: object) -> Callable[[Home], object]:
    return lambda home: write_windows(home, windows_frame(start=NINE, n=60, **overrides))


def _with_label(**overrides: object) -> Callable[[Home], object]:
    later = span(NINE + DAY / 4, NINE + DAY / 3, "Build")
    return lambda home: write_labels(home, [*_good_spans(), {**later, **overrides}])


def _without_column(home: Home) -> None:
    write_day(home, YESTERDAY, windows_frame(start=NINE, n=60).drop(columns="keys_per_min"))


def _hash_of_another_schema(home: Home) -> None:
    write_windows(home, windows_frame(start=NINE, n=60, schema_hash=["4077fe0dba70"] * 59 + ["deadbeef0000"]))


def _ends_late(home: Home) -> None:
    rows = windows_frame(start=NINE, n=60)
    rows.loc[7, "bucket_end_ts"] += MINUTE
    write_windows(home, rows)


BAD: dict[str, tuple[str, Callable[[Home], object], list[str]]] = {
    "a column is missing": ("columns_are_complete_and_typed", _without_column, [FILE, "keys_per_min"]),
    "a row has another schema's hash": ("schema_hash_is_known", _hash_of_another_schema, [FILE, "row 59", "deadbeef0000"]),
    "a share is 7": (
        "values_are_in_bounds",
        _with_windows(top2_app_concentration_15m=[0.5] * 30 + [7.0] * 30),
        [FILE, "top2_app_concentration_15m", "row 30", "7", "[0, 1]", "30 rows"],
    ),
    "a rate is infinite": ("values_are_in_bounds", _with_windows(keys_per_min=float("inf")), [FILE, "keys_per_min", "row 0"]),
    "an hour is 24": ("values_are_in_bounds", _with_windows(hour_of_day=24), [FILE, "hour_of_day", "[0, 23]"]),
    "a window lasts two minutes": ("windows_are_whole_minutes", _ends_late, [FILE, "bucket_end_ts", "row 7", "60 s"]),
    "a window is of another day": (
        "windows_are_of_their_day",
        lambda home: write_day(home, YESTERDAY, windows_frame(start=NINE - DAY, n=60)),
        [FILE, "bucket_start_ts", "row 0", str(YESTERDAY), "60 rows"],
    ),
    "a label is none of the eight": (
        "labels_are_in_the_label_set",
        _with_label(label="Mixed/Unknown"),
        [LABELS_FILE, "label", "row 1", "Mixed/Unknown"],
    ),
    "a span ends before it starts": (
        "spans_end_after_they_start",
        _with_label(end_ts=NINE - MINUTE),
        [LABELS_FILE, "end_ts", "row 1"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_data_that_breaks_the_contract_turns_its_check_red_and_ends_the_run_before_the_snapshot(tmp_path: Path, case: str) -> None:
    check, spoil, names = BAD[case]
    home = make_home(tmp_path)
    _with_windows()(home)
    write_labels(home, _good_spans())
    spoil(home)
    run = _run(home)
    evaluation = run.checks[check]
    assert (evaluation.passed, evaluation.severity, evaluation.blocking) == (False, ERROR, True)
    assert _facts(evaluation)["findings"] == 1
    assert [name for name in names if name not in (evaluation.description or "")] == []
    assert run.red & DATA_CHECKS == {check}
    assert not run.result.success
    assert run.made == {"labeled_windows"}
    assert not home.models.exists()
    assert not home.snapshots.exists()


def test_a_check_lists_twenty_findings_and_counts_the_rest(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    _with_windows()(home)
    begin = NINE + timedelta(hours=2)
    write_labels(home, [span(begin + i * MINUTE, begin + (i + 1) * MINUTE, f"Label-{i:02}") for i in range(25)])
    evaluation = _run(home).checks["labels_are_in_the_label_set"]
    assert _facts(evaluation)["findings"] == 25
    assert "'Label-19'" in (evaluation.description or "")
    assert "'Label-20'" not in (evaluation.description or "")
    assert {"5", "every_finding"} <= set((evaluation.description or "").splitlines()[-1].split())
    assert "'Label-24'" in _facts(evaluation)["every_finding"]


def test_good_data_is_green(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    _with_windows()(home)
    write_labels(home, _good_spans())
    run = _run(home)
    assert (
        run.red
        & (
            DATA_CHECKS
            | {"keys_are_unique", "no_raw_columns", "every_user_has_windows", "every_window_file_is_read", "labels_are_not_shifted_in_time"}
        )
        == set()
    )
    assert run.made >= {"labeled_windows", "dataset_snapshot"}


def test_a_labelled_user_without_windows_is_a_warning_that_names_them_and_the_run_goes_on(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    _with_windows()(home)
    write_labels(home, [*_good_spans(), span(NINE, NINE + MINUTE, "Build", user="bob")])
    run = _run(home)
    evaluation = run.checks["every_user_has_windows"]
    assert (evaluation.passed, evaluation.severity) == (False, WARN)
    assert "bob" in (evaluation.description or "")
    assert _facts(evaluation) == {"users_without_windows": 1}
    assert "dataset_snapshot" in run.made


def test_labels_of_another_time_zone_are_a_warning_that_names_hours_and_share(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    _with_windows()(home)
    late = NINE + timedelta(hours=3)
    write_labels(home, [span(late, late + 60 * MINUTE, "Build")])
    evaluation = _run(home).checks["labels_are_not_shifted_in_time"]
    assert (evaluation.passed, evaluation.severity, evaluation.blocking) == (False, WARN, False)
    assert {"-3", "100%", "0%:"} <= set((evaluation.description or "").split())
    assert _facts(evaluation) == {"shifts": 1, "hours": -3}


def test_a_file_that_is_not_read_is_a_warning_that_names_it_and_the_run_goes_on(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    _with_windows()(home)
    write_labels(home, _good_spans())
    write_day(home, YESTERDAY, windows_frame(start=NINE, n=60)).parent.rename(home.features("v1") / "date=2026-W06-2")
    _with_windows()(home)
    run = _run(home)
    evaluation = run.checks["every_window_file_is_read"]
    assert (evaluation.passed, evaluation.severity, evaluation.blocking) == (False, WARN, False)
    assert "date=2026-W06-2 (60 rows)" in (evaluation.description or "")
    assert _facts(evaluation) == {"passed_over": 1, "rows": 60}
    assert "dataset_snapshot" in run.made


# --- dataset_snapshot: enough to learn from -------------------------------------------------------------------------------------------


def test_too_few_labels_end_the_run_with_what_to_label(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    _with_windows()(home)
    write_labels(home, _good_spans())
    run = _run(home)
    evaluation = run.checks["enough_labels"]
    assert (evaluation.passed, evaluation.severity, evaluation.blocking) == (False, ERROR, True)
    assert _facts(evaluation) == {"gold_windows": 60, "min_labels": 200}
    assert not run.result.success
    assert run.made == {"labeled_windows", "dataset_snapshot"}


def test_an_empty_split_ends_the_run_and_names_the_split(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    _with_windows()(home)
    write_labels(home, _good_spans())
    run = _run(home, _overlay(tmp_path, "min_labels: 60\n"))
    evaluation = run.checks["no_split_is_empty"]
    assert run.checks["enough_labels"].passed
    assert (evaluation.passed, evaluation.severity, evaluation.blocking) == (False, ERROR, True)
    assert "validation" in (evaluation.description or "")
    assert (_facts(evaluation)["validation"], _facts(evaluation)["test"]) == (0, 9)
    assert not run.result.success
    assert "challenger_model" not in run.made


# --- A month without breaks: nothing could be promoted --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def breakless(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Nobody ever labelled a break."""
    folder = tmp_path_factory.mktemp("breakless")
    home = learnable_home(folder, users=1, days=6)
    write_labels(home, [row for row in pq.read_table(home.labels).to_pylist() if row["label"] != "BreakIdle"])
    return _run(
        home,
        _overlay(
            folder,
            "auto_promote: true\nmin_class_windows: 15\nmin_windows: 50\nmax_negative_flips: 1.0\nmax_flip_excess: 1.0\n"
            "train_params: {num_boost_round: 15}\nsearch: off\n",
        ),
    )


def test_data_on_which_no_model_could_be_promoted_is_red_before_training_and_the_run_is_green(breakless: Run) -> None:
    evaluation = breakless.checks["a_model_could_be_promoted"]
    assert (evaluation.passed, evaluation.severity, evaluation.blocking) == (False, ERROR, False)
    snapshot: DatasetSnapshot = breakless.result.output_for_node("dataset_snapshot")
    assert evaluation.description == snapshot.feasibility.summary
    assert _facts(evaluation) == {"judged_labels": 7}
    assert breakless.result.success


def test_the_decision_then_holds_in_the_same_words_and_adds_what_else_is_in_the_way(breakless: Run) -> None:
    decision: PromotionDecision = breakless.result.output_for_node("promotion_decision")
    assert (decision.verdict, breakless.outcome) == ("HOLD", "HOLD")
    assert decision.reason.startswith(breakless.checks["a_model_could_be_promoted"].description or "none")
    assert "Not decided: breakidle_precision, breakidle_recall are INCONCLUSIVE" in decision.reason
    assert (breakless.home.pending_models / decision.challenger.model_id).is_dir()
    assert not breakless.home.active_pointer.exists()


def test_a_gate_that_cannot_say_is_red_and_says_why(breakless: Run) -> None:
    evaluation = breakless.checks["breakidle_precision"]
    assert (evaluation.passed, evaluation.severity, evaluation.blocking) == (False, ERROR, False)
    assert (_facts(evaluation)["verdict"], "observed" in _facts(evaluation)) == ("INCONCLUSIVE", False)


WORDED = ("breakidle_precision", "breakidle_recall", "every_class_has_support", "every_label_is_judged", "enough_labels")


def test_the_words_of_checks(breakless: Run, rejected: Run, snapshot: SnapshotAssertion) -> None:
    told = {f"{name} without breaks": breakless.checks[name].description for name in WORDED}
    told |= {name: rejected.checks[name].description for name in ("unseen_user_f1", "every_user_has_windows")}
    told |= {
        evidence: has_not_trained_on_them(_champion(rejected, windows_trained_on=12, trained_on_evidence=evidence)).description
        for evidence in ("row_hashes", "training_dates")
    }
    assert told == snapshot


def test_a_label_that_cannot_be_learned_or_judged_is_advice(breakless: Run) -> None:
    support, judged = breakless.checks["every_class_has_support"], breakless.checks["every_label_is_judged"]
    assert (support.passed, support.severity, _facts(support)) == (False, WARN, {"unsupported_labels": 1})
    assert _labels_named(support) == ["BreakIdle"]
    assert (judged.passed, judged.severity, _facts(judged)) == (False, WARN, {"judged_labels": 7})
    assert _labels_named(judged) == ["BreakIdle"]


# --- Gates that fail ------------------------------------------------------------------------------------------------------------------


STRICT = """
min_class_windows: 15
min_windows: 50
max_negative_flips: 1.0
max_flip_excess: 1.0
min_improvement: 0.5
regression_tolerance: 0.0
train_params: {num_boost_round: 15}
search: off
gates: {min_macro_f1: 0.999, min_weighted_f1: 0.999, min_class_precision: 0.999, min_reject_rate: 0.6, max_reject_rate: 0.7}
advice: {max_flap_rate: 0.0}
"""


@pytest.fixture(scope="module")
def rejected(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A champion, and a policy that no challenger fulfils; read only."""
    folder = tmp_path_factory.mktemp("rejected")
    home = home_with_champion(learnable_home(folder, users=1, days=6))
    write_tuned_policy(home, MID)
    edit_json(home.models / MID / "metadata.json", {"reject_threshold": tiny_model().reject.value})
    return _run(home, _overlay(folder, STRICT), holdout_user_fraction=0.0)


def test_a_failing_gate_is_red_with_its_figures_and_the_run_is_green(rejected: Run) -> None:
    assert rejected.result.success
    assert rejected.outcome == "REJECT"
    for name in ("macro_f1", "weighted_f1", "no_class_below_50_precision"):
        evaluation = rejected.checks[name]
        facts = _facts(evaluation)
        assert (evaluation.passed, evaluation.severity, evaluation.blocking) == (False, ERROR, False)
        assert (facts["verdict"], facts["threshold"]) == ("FAIL", 0.999)
        assert 0 < facts["observed"] < 0.999


def test_a_gate_with_two_bounds_shows_both(rejected: Run) -> None:
    facts = _facts(rejected.checks["reject_rate_bounds"])
    assert (facts["verdict"], facts["threshold_low"], facts["threshold_high"]) == ("FAIL", 0.6, 0.7)


def test_a_comparative_gate_fails_on_the_decision_and_the_run_is_green(rejected: Run) -> None:
    evaluation = rejected.checks["min_improvement"]
    assert (evaluation.passed, evaluation.severity, evaluation.blocking) == (False, ERROR, False)
    assert evaluation.asset_key == dg.AssetKey("promotion_decision")
    assert (_facts(evaluation)["verdict"], _facts(evaluation)["threshold"]) == ("FAIL", 0.5)


def test_a_gate_that_does_not_apply_is_green_and_says_so(rejected: Run) -> None:
    evaluation = rejected.checks["unseen_user_f1"]
    assert evaluation.passed
    assert _facts(evaluation)["verdict"] == "NOT_APPLICABLE"


def test_a_gate_that_passes_is_green_beside_those_that_fail(rejected: Run) -> None:
    assert rejected.checks["loads_and_predicts"].passed
    assert _facts(rejected.checks["loads_and_predicts"])["observed"] == 1.0
    assert rejected.checks["breakidle_recall"].passed


def test_the_verdict_follows_from_the_gates_and_the_check_repeats_it(rejected: Run) -> None:
    evaluation = rejected.checks["verdict_follows_from_the_gates"]
    assert evaluation.passed
    decision: PromotionDecision = rejected.result.output_for_node("promotion_decision")
    assert evaluation.description == f"REJECT: {decision.reason}"
    assert verify_decision(decision.model_copy(update={"verdict": "PROMOTE"})) != []


def test_flickering_predictions_are_advice_in_figures(rejected: Run) -> None:
    evaluation = rejected.checks["flap_rate_is_low"]
    assert (evaluation.passed, evaluation.severity) == (False, WARN)
    assert _facts(evaluation)["flap_rate"] > 0


@pytest.mark.parametrize("key", ["max_flap_rate", "max_flap_rate_smoothed"])
def test_each_limit_of_the_flap_rate_counts(rejected: Run, key: str) -> None:
    report = _record(rejected, ChallengerReport).report
    assert report is not None
    assert report.flap_rate_smoothed > 0

    def calm(limit: float) -> bool:
        loose = {"max_flap_rate": 1.0, "max_flap_rate_smoothed": 1.0}
        checks = {
            check.check_name: check for check in advice_checks(report, retrain_config(advice={**loose, key: limit}).evaluation.advice)
        }
        return checks["flap_rate_is_low"].passed

    assert calm(1.0)
    assert not calm(0.0)


# --- What lies on disk behind the records -----------------------------------------------------------------------------------------------


_Record = TypeVar("_Record", bound=Record)
_ASSET: dict[type[Record], str] = {
    LabeledWindows: "labeled_windows",
    DatasetSnapshot: "dataset_snapshot",
    ChallengerModel: "challenger_model",
    ChallengerReport: "challenger_report",
    ChampionReport: "champion_report",
}


def _record(run: Run, kind: type[_Record]) -> _Record:
    path = run.home.records / _ASSET[kind] / "latest.json"
    return kind.model_validate(json.loads(path.read_text(encoding="utf-8")))


@pytest.fixture
def copied(rejected: Run, tmp_path: Path) -> Run:
    """The rejected run's home, to be tampered with."""
    shutil.copytree(rejected.home.root, tmp_path / "copy")
    return Run(Home(tmp_path / "copy"), rejected.result, rejected.outcome)


def _resource(run: Run) -> HomeResource:
    return HomeResource(root=str(run.home.root))


def _rewrite_frame(run: Run, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    path = run.home.root / str(_record(run, LabeledWindows).path)
    frame = pa.ipc.open_file(pa.py_buffer(path.read_bytes())).read_all().to_pandas()
    table = pa.Table.from_pandas(change(frame), preserve_index=False)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def _rewrite_snapshot(run: Run, change: Callable[[pd.DataFrame], object]) -> None:
    path = run.home.root / _record(run, DatasetSnapshot).path / "windows" / "part-000.parquet"
    rows = pq.read_table(path).to_pandas()
    change(rows)
    pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), path)


def _result(spec: dg.AssetCheckSpec, results: Iterable[dg.AssetCheckResult]) -> dg.AssetCheckResult:
    return next(result for result in results if result.check_name == spec.name)


def test_a_stored_frame_with_a_window_twice_is_red(copied: Run) -> None:
    record = _record(copied, LabeledWindows)
    assert _result(KEYS, labeled_windows_file(record, _resource(copied))).passed
    _rewrite_frame(copied, lambda frame: pd.concat([frame, frame.head(2)], ignore_index=True))
    result = _result(KEYS, labeled_windows_file(record, _resource(copied)))
    assert (result.passed, result.severity) == (False, ERROR)
    assert _facts(result) == {"repeated": 2, "dropped_on_reading": 0}


def test_a_stored_frame_with_a_raw_column_is_red(copied: Run) -> None:
    record = _record(copied, LabeledWindows)
    assert _result(PRIVACY, labeled_windows_file(record, _resource(copied))).passed
    _rewrite_frame(copied, lambda frame: frame.assign(raw_window_title="secret"))
    result = _result(PRIVACY, labeled_windows_file(record, _resource(copied)))
    assert (result.passed, result.severity) == (False, ERROR)
    assert "raw_window_title" in (result.description or "")
    assert _facts(result) == {"kept": 1, "dropped": 0}


def test_a_stored_snapshot_with_one_other_value_is_red(copied: Run) -> None:
    record = _record(copied, DatasetSnapshot)
    assert _result(HASH, dataset_snapshot_file(record, _resource(copied))).passed
    _rewrite_snapshot(copied, lambda rows: rows.__setitem__("keys_per_min", rows["keys_per_min"].replace(rows["keys_per_min"][0], 1e6)))
    result = _result(HASH, dataset_snapshot_file(record, _resource(copied)))
    assert (result.passed, result.severity) == (False, ERROR)
    assert record.dataset_hash in (result.description or "")
    assert str(_facts(result)["digest"])[:16] != record.dataset_hash


def test_a_stored_snapshot_written_anew_with_equal_values_is_green(copied: Run) -> None:
    _rewrite_snapshot(copied, lambda rows: rows)
    assert _result(HASH, dataset_snapshot_file(_record(copied, DatasetSnapshot), _resource(copied))).passed


def test_a_test_window_moved_before_the_training_windows_is_red_and_names_the_user(copied: Run) -> None:
    record = _record(copied, DatasetSnapshot)
    assert _result(SPLITS, dataset_snapshot_file(record, _resource(copied))).passed
    _rewrite_snapshot(copied, lambda rows: rows.__setitem__("split", rows["split"].where(rows.index != 0, "test")))
    result = _result(SPLITS, dataset_snapshot_file(record, _resource(copied)))
    assert (result.passed, result.severity) == (False, ERROR)
    assert "user-0" in (result.description or "")
    assert _facts(result)["overlaps"] == 2


# --- The challenger's bundle -------------------------------------------------------------------------------------------------------------


def _report_again(run: Run) -> ChallengerReport:
    snapshot, challenger = _record(run, DatasetSnapshot), _record(run, ChallengerModel)
    return report_challenger(run.home, snapshot, challenger, config=retrain_config(), num_threads=1)


def _probe(run: Run) -> dg.AssetCheckResult:
    return reload_check(_report_again(run), _record(run, ChallengerModel))


def _bundle(run: Run) -> Path:
    return run.home.rejected_models / _record(run, ChallengerModel).model_id


def test_the_bundle_that_was_written_is_green(rejected: Run) -> None:
    assert rejected.checks["bundle_reloads_and_predicts_identically"].passed


def test_a_bundle_whose_model_was_exchanged_is_red(copied: Run) -> None:
    change_a_leaf(_bundle(copied))
    result = _probe(copied)
    assert (result.passed, result.severity) == (False, ERROR)
    assert _facts(result) == {"probe": "none"}


def test_a_model_that_predicts_something_else_is_red(rejected: Run) -> None:
    report = _record(rejected, ChallengerReport).model_copy(update={"probe_digest": "f" * 64})
    result = reload_check(report, _record(rejected, ChallengerModel))
    assert (result.passed, result.severity) == (False, ERROR)
    assert _facts(result) == {"probe": "f" * 64}


# --- The champion's report ---------------------------------------------------------------------------------------------------------------


def _champion(run: Run, **changes: object) -> ChampionReport:
    return _record(run, ChampionReport).model_copy(update=changes)


def test_both_models_on_the_same_windows_is_green(rejected: Run) -> None:
    result = scored_on_the_challengers_windows(_champion(rejected), _record(rejected, ChallengerReport))
    assert result.passed
    assert _facts(result) == {"windows": 160, "left_out": 0}


def test_windows_that_the_champion_lacks_are_red_and_counted(rejected: Run) -> None:
    report = _champion(rejected).report
    assert report is not None
    fewer = _champion(rejected, report=report.model_copy(update={"rows_digest": "0" * 16, "windows": 100}), windows_without_features=60)
    result = scored_on_the_challengers_windows(fewer, _record(rejected, ChallengerReport))
    assert (result.passed, result.severity) == (False, WARN)
    assert _facts(result) == {"windows": 100, "left_out": 60}


def test_a_champion_that_could_not_be_scored_is_red_with_the_reason(rejected: Run) -> None:
    broken = _champion(rejected, state="unreadable", report=None, reason="GONE")
    result = scored_on_the_challengers_windows(broken, _record(rejected, ChallengerReport))
    assert not result.passed
    assert "GONE" in (result.description or "")


def test_a_home_without_a_champion_is_green(rejected: Run) -> None:
    none = _champion(rejected, state="none", report=None)
    assert scored_on_the_challengers_windows(none, _record(rejected, ChallengerReport)).passed
    assert is_what_taskclf_runs(none.model_copy(update={"source": "none"})).passed


def test_windows_that_the_champion_learned_from_are_a_warning_with_the_evidence(rejected: Run) -> None:
    assert has_not_trained_on_them(_champion(rejected)).passed
    results = {
        evidence: has_not_trained_on_them(_champion(rejected, windows_trained_on=12, trained_on_evidence=evidence))
        for evidence in ("row_hashes", "training_dates")
    }
    assert {(result.passed, result.severity) for result in results.values()} == {(False, WARN)}
    assert [_facts(result) for result in results.values()] == [{"windows_trained_on": 12}] * 2
    assert len({result.description for result in results.values()}) == 2


def test_the_champion_that_policy_and_pointer_name_is_green(rejected: Run) -> None:
    assert rejected.checks["is_what_taskclf_runs"].passed
    assert _facts(rejected.checks["is_what_taskclf_runs"]) == {"source": "policy"}


@pytest.mark.parametrize(
    "changes",
    [{"warnings": ["WARNED"]}, {"state": "unreadable", "reason": "GONE"}],
    ids=["a warning", "unreadable"],
)
def test_anything_unusual_about_the_champion_is_a_warning_that_names_it(rejected: Run, changes: Mapping[str, object]) -> None:
    result = is_what_taskclf_runs(_champion(rejected, **changes))
    assert (result.passed, result.severity) == (False, WARN)
    named = [*changes.get("warnings", []), changes.get("reason", "")]
    assert all(name in (result.description or "") for name in named)


# --- What taskclf runs -------------------------------------------------------------------------------------------------------------------


def _running(tmp_path: Path) -> Home:
    home = home_with_champion(make_home(tmp_path))
    write_policy(home, MID)
    return home


def _check_registry(name: str, home: Home) -> dg.AssetCheckResult:
    spec = next(spec for spec in REGISTRY_SPECS if spec.name == name)
    return _result(spec, registry_files(HomeResource(root=str(home.root))))


def _leave_the_home(home: Home) -> None:
    point_at(home, MID, model_dir="../elsewhere/evil")


def _truncate_pointer(home: Home) -> None:
    home.active_pointer.write_bytes(home.active_pointer.read_bytes()[:40])


DAMAGED_POINTERS: dict[str, tuple[Callable[[Home], object], str]] = {
    "no pointer": (lambda home: home.active_pointer.unlink(), "missing"),
    "a torn pointer": (_truncate_pointer, "unreadable"),
    "a pointer that is a list": (lambda home: home.active_pointer.write_text("[]", encoding="utf-8"), "unreadable"),
    "a pointer of another policy version": (lambda home: point_at(home, MID, policy_version=2), "unreadable"),
    "a pointer out of the home": (_leave_the_home, "location"),
    "a pointer to nothing": (lambda home: point_at(home, "2020-01-01_000000_run-0000"), "missing_file"),
    "a bundle without model.txt": (lambda home: (home.models / MID / "model.txt").unlink(), "missing_file"),
    "an incompatible bundle": (
        lambda home: edit_json(home.models / MID / "metadata.json", {"label_set": list(LABELS[:-1])}),
        "label_set",
    ),
}


def test_a_pointer_to_a_bundle_that_loads_is_green(tmp_path: Path) -> None:
    assert _check_registry(LOADS, _running(tmp_path)).passed


@pytest.mark.parametrize("case", DAMAGED_POINTERS)
def test_a_damaged_pointer_or_bundle_is_red_and_says_which(tmp_path: Path, case: str) -> None:
    damage, code = DAMAGED_POINTERS[case]
    home = _running(tmp_path)
    damage(home)
    problem, result = find_pointer_problem(read_registry_state(home)), _check_registry(LOADS, home)
    assert problem is not None
    assert problem.code == code
    assert (result.passed, result.severity, result.description) == (False, ERROR, problem.detail)


def _set_active_elsewhere(home: Home) -> None:
    point_at(home, OLD)


DISAGREEMENTS: dict[str, tuple[Callable[[Home], object], list[str]]] = {
    "the pointer was set by hand": (_set_active_elsewhere, ["active.json", OLD, MID]),
    "the policy names another": (lambda home: write_policy(home, OLD), ["active.json", MID, "inference_policy.json", OLD]),
    "there is no history": (lambda home: home.active_history.unlink(), ["active.json", MID]),
    "the history ends earlier": (lambda home: write_history(home, OLD), ["active.json", MID, OLD]),
    "the pointer is torn": (_truncate_pointer, ["active.json"]),
}
"""Disagreements, and the files and models that the check names, in this order."""


def test_pointer_policy_and_history_that_agree_are_green(tmp_path: Path) -> None:
    home = _running(tmp_path)
    assert _check_registry(AGREES, home).passed
    home.inference_policy.unlink()
    assert _check_registry(AGREES, home).passed


@pytest.mark.parametrize("case", DISAGREEMENTS)
def test_pointer_policy_and_history_that_disagree_are_red_and_named(tmp_path: Path, case: str) -> None:
    damage, names = DISAGREEMENTS[case]
    home = _running(tmp_path)
    damage(home)
    result = _check_registry(AGREES, home)
    assert (result.passed, result.severity) == (False, ERROR)
    assert result.description == find_history_disagreement(read_registry_state(home))
    assert re.findall(rf"active\.json|inference_policy\.json|{OLD}|{MID}", result.description or "") == names


def test_a_torn_last_line_of_the_history_is_red(tmp_path: Path) -> None:
    home = _running(tmp_path)
    home.active_history.write_bytes(home.active_history.read_bytes()[:-30])
    assert not _check_registry(AGREES, home).passed


def test_a_policy_that_cannot_be_read_is_red(tmp_path: Path) -> None:
    home = _running(tmp_path)
    home.inference_policy.write_text("{", encoding="utf-8")
    result = _check_registry(AGREES, home)
    assert not result.passed


def test_the_checks_of_what_runs_can_be_launched_alone_at_any_time(tmp_path: Path) -> None:
    home = _running(tmp_path)
    _set_active_elsewhere(home)
    (home.models / OLD / "model.txt").unlink()
    definitions = build_definitions(home=HomeResource(root=str(home.root)))
    result = dg.materialize(
        [*(definitions.assets or []), *(definitions.asset_checks or [])],
        selection=dg.AssetSelection.checks_for_assets("active_pointer"),
        resources=dict(definitions.resources or {}),
        instance=dg.DagsterInstance.ephemeral(),
    )
    assert result.success
    found = {evaluation.check_name: evaluation.passed for evaluation in result.get_asset_check_evaluations()}
    assert found == {"points_to_a_valid_bundle": False, "agrees_with_the_history": False}
