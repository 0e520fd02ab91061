"""The life of a home from its first model on: promoted, skipped, rejected, held, awaiting approval, and never changed by mistake.

Stages of one home are built once, by real runs, and copied by each test that goes on from there.
"""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow.parquet as pq
import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.jobs.retrain import RetrainParams, RetrainResult, run_retrain_pipeline
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource
from taskclf_dagster.domain.data.feature_schema import LABELS, SCHEMAS
from taskclf_dagster.domain.data.hashing import hash_row_keys
from taskclf_dagster.domain.data.snapshot_rows import read_snapshot_rows
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import list_decisions, verify_stored
from taskclf_dagster.domain.decision.last_decided import read_last_decided
from taskclf_dagster.domain.decision.verdict import REQUIRED_GATES
from taskclf_dagster.domain.models.bundle import load_bundle
from taskclf_dagster.domain.models.bundle_files import MANIFEST, MODEL_CARD, read_bundle_files
from taskclf_dagster.domain.models.manifest import find_manifest_problem
from taskclf_dagster.domain.registry.health import find_history_disagreement, find_pointer_problem
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.domain.registry.recovery import repair
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.scheduling.cadence import check_retrain_due
from taskclf_dagster.errors import DecisionNotVerifiedError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.cycle.stages import FIRST, SECOND
from taskclf_dagster_tests.damaged_bundles import Damage
from taskclf_dagster_tests.masking import masked
from taskclf_dagster_tests.models import OLD, contents, edit_json, point_at, pointer_to, write_policy, write_tiny_bundle
from taskclf_dagster_tests.scenario import AS_OF, DAY, LEARNABLE_DAY_WINDOWS, add_learnable_days, day_file, learnable_home, write_labels

pytestmark = pytest.mark.filterwarnings(
    # Dagster warns about itself when a resource (the IO manager) has another resource (the home) within.
    "ignore:InitResourceContext.dagster_run is deprecated:DeprecationWarning"
)

DAYS = 6

JUDGE = ("labeled_windows", "dataset_snapshot", "challenger_model", "challenger_report")
DECIDE = ("champion_report", "promotion_decision")
APPLY = ("active_pointer",)
STALE_SCORE = 0.99


@dataclass(frozen=True)
class Stage:
    """A home and the settings it is run with."""

    home: Home
    config: Path

    def copy(self, folder: Path) -> "Stage":
        shutil.copytree(self.home.root, folder / "home")
        return Stage(Home(folder / "home"), self.config)

    def with_config(self, text: str) -> "Stage":
        path = self.home.root.parent / "other.yaml"
        path.write_text(self.config.read_text(encoding="utf-8") + text, encoding="utf-8")
        return Stage(self.home, path)

    def retrain(self, *, at: datetime = FIRST, **params: object) -> RetrainResult:
        """A whole run of the job."""
        form = RetrainParams(config_path=str(self.config), **params)
        with dg.DagsterInstance.ephemeral() as instance:
            result = run_retrain_pipeline(self._definitions(at), form, instance=instance)
            run = instance.get_run_by_id(result.run_id)
            assert run is not None
            assert run.status == (dg.DagsterRunStatus.SUCCESS if result.success else dg.DagsterRunStatus.FAILURE)
            if result.success:
                assert run.tags["taskclf/outcome"].split(" ")[0] == result.outcome
        return result

    def materialize(self, *assets: str, at: datetime = SECOND, **settings: object) -> dg.ExecuteInProcessResult:
        """Some of the assets, as a launch from the lineage page does it."""
        job = self._definitions(at).resolve_implicit_global_asset_job_def()
        config = {"resources": {"run_settings": {"config": {"config_path": str(self.config), **settings}}}}
        with dg.DagsterInstance.ephemeral() as instance:
            return job.execute_in_process(
                asset_selection=[dg.AssetKey(name) for name in assets], run_config=config, instance=instance, raise_on_error=False
            )

    def decision(self) -> PromotionDecision:
        return PromotionDecision.model_validate(self.record("promotion_decision"))

    def record(self, asset: str) -> dict[str, object]:
        return json.loads((self.home.records / asset / "latest.json").read_text(encoding="utf-8"))

    def active(self) -> str:
        pointer = read_active(self.home)
        assert pointer is not None
        return Path(pointer.model_dir).name

    def champion_bundle(self) -> Path:
        return self.home.models / self.active()

    def _definitions(self, at: datetime) -> dg.Definitions:
        return build_definitions(home=HomeResource(root=str(self.home.root)), clock=ClockResource(fixed=at.isoformat()))


def _refusal(result: dg.ExecuteInProcessResult) -> str:
    """The message of the refused decision that ended the one step that failed, as the run's log has it."""
    (event,) = [event for event in result.all_events if event.is_step_failure]
    error = event.step_failure_data.error
    while error is not None and error.cls_name != DecisionNotVerifiedError.__name__:
        error = error.cause
    assert error is not None
    return str(error.message)


def _gates(decision: PromotionDecision) -> dict[str, str]:
    return {gate.name: gate.status for gate in decision.gates}


# --- Stages ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """Two users, six days, no model."""
    folder = tmp_path_factory.mktemp("cycle")
    config = folder / "config.yaml"
    small = "min_class_windows: 20\nmin_windows: 50\nmax_negative_flips: 1.0\nmax_flip_excess: 1.0\n"
    params = "{num_boost_round: 15, num_leaves: 31, feature_fraction: 1.0}"
    text = f"auto_promote: true\nsearch: off\n{small}data_lookback_days: 20\ntrain_params: {params}\n"
    config.write_text(text, encoding="utf-8")
    return Stage(learnable_home(folder, days=DAYS), config)


@pytest.fixture(scope="module")
def first(raw: Stage, tmp_path_factory: pytest.TempPathFactory) -> tuple[Stage, RetrainResult]:
    """After the first retrain."""
    stage = raw.copy(tmp_path_factory.mktemp("first"))
    return stage, stage.retrain()


@pytest.fixture(scope="module")
def grown(first: tuple[Stage, RetrainResult], tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """A day later: a champion, its calibrators, and new labels that nothing has been trained on."""
    stage = first[0].copy(tmp_path_factory.mktemp("grown"))
    add_learnable_days(stage.home)
    policy = json.loads(stage.home.inference_policy.read_text(encoding="utf-8"))
    tuned = {"reject_threshold": policy["reject_threshold"], "model_label_set": policy["model_label_set"]}
    write_policy(stage.home, stage.active(), **tuned, created_at=(FIRST + timedelta(hours=2)).isoformat())
    return stage


@pytest.fixture(scope="module")
def judged(grown: Stage, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The same with a new challenger, trained and scored; the champion was not looked at yet."""
    stage = grown.copy(tmp_path_factory.mktemp("judged"))
    assert stage.materialize(*JUDGE).success
    return stage


@pytest.fixture(scope="module")
def decided(judged: Stage, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The same with the decision to promote, which is not in effect yet. The champion's stored score is better than it is."""
    stage = judged.copy(tmp_path_factory.mktemp("decided"))
    edit_json(stage.champion_bundle() / "metrics.json", {"macro_f1": STALE_SCORE})
    (stage.champion_bundle() / MANIFEST).unlink()  # as taskclf would have written it
    assert stage.materialize(*DECIDE).success
    assert stage.decision().verdict == "PROMOTE"
    return stage


@pytest.fixture(scope="module")
def rejected(grown: Stage, tmp_path_factory: pytest.TempPathFactory) -> tuple[Stage, RetrainResult, Mapping[str, bytes]]:
    """A retrain on labels that somebody has shuffled on all days but the newest; and models/ as it was before."""
    stage = grown.copy(tmp_path_factory.mktemp("rejected")).with_config(
        "gates: {min_macro_f1: 0.0, min_weighted_f1: 0.0, min_class_precision: 0.0, min_breakidle_precision: 0.0,"
        " min_breakidle_recall: 0.0, min_reject_rate: 0.0, max_reject_rate: 1.0}\nrequire_baseline_improvement: false\nrefit: false\n"
    )
    _shuffle_old_labels(stage.home)
    before = contents(stage.home.models)
    return stage, stage.retrain(at=SECOND), before


def _shuffle_old_labels(home: Home) -> None:
    spans = pq.read_table(home.labels).to_pylist()
    old = [row for row in spans if row["start_ts"] < AS_OF - 2 * DAY]
    labels = np.random.default_rng(1).permutation([row["label"] for row in old])
    for row, label in zip(old, labels, strict=True):
        row["label"] = str(label)
    write_labels(home, spans)


# --- The first model --------------------------------------------------------------------------------------------------------------


def test_the_first_model_that_passes_every_absolute_gate_is_promoted(first: tuple[Stage, RetrainResult]) -> None:
    stage, result = first
    assert (result.success, result.outcome, result.pointer_moved) == (True, "PROMOTE", True)
    assert result.decision is not None
    assert stage.active() == result.decision.challenger.model_id
    assert _gates(result.decision)["macro_f1_no_regression"] == "NOT_APPLICABLE"
    assert result.decision.champion.source == "none"


def test_the_pointer_has_what_taskclf_reads(first: tuple[Stage, RetrainResult]) -> None:
    stage, _ = first
    pointer = json.loads(stage.home.active_pointer.read_text(encoding="utf-8"))
    metrics = json.loads((stage.champion_bundle() / "metrics.json").read_text(encoding="utf-8"))
    assert pointer["model_dir"] == f"models/{stage.active()}"
    assert pointer["model_id"] == stage.active()
    assert pointer["policy_version"] == 1
    assert datetime.fromisoformat(pointer["selected_at"]) == FIRST
    assert pointer["reason"]["metric"] == "macro_f1"
    assert pointer["reason"]["macro_f1"] == metrics["macro_f1"]
    assert pointer["reason"]["weighted_f1"] == metrics["weighted_f1"]
    assert pointer["reason"]["note"] == "retrain promotion"
    assert find_pointer_problem(read_registry_state(stage.home)) is None


def test_the_history_has_one_line_from_nothing_to_it(first: tuple[Stage, RetrainResult]) -> None:
    stage, _ = first
    (line,) = stage.home.active_history.read_text(encoding="utf-8").splitlines()
    entry = json.loads(line)
    assert set(entry) >= {"at", "old", "new"}
    assert entry["old"] is None
    assert entry["new"] == json.loads(stage.home.active_pointer.read_text(encoding="utf-8"))


def test_the_inference_policy_names_it_and_its_threshold_without_calibrators(first: tuple[Stage, RetrainResult]) -> None:
    stage, _ = first
    policy = json.loads(stage.home.inference_policy.read_text(encoding="utf-8"))
    metadata = json.loads((stage.champion_bundle() / "metadata.json").read_text(encoding="utf-8"))
    assert policy["policy_version"] == "v1"
    assert policy["model_dir"] == f"models/{stage.active()}"
    assert policy["model_schema_hash"] == SCHEMAS["v1"].schema_hash
    assert policy["model_label_set"] == list(LABELS)
    assert policy["reject_threshold"] == metadata["reject_threshold"]
    assert (policy["calibrator_store_dir"], policy["calibration_method"], policy["per_user_reject_thresholds"]) == (None, None, None)
    assert {"created_at", "source", "git_commit"} <= set(policy)


def test_the_index_ranks_it_with_a_path_relative_to_the_home(first: tuple[Stage, RetrainResult]) -> None:
    stage, _ = first
    index = json.loads(stage.home.index.read_text(encoding="utf-8"))
    assert index["best_model_id"] == stage.active()
    assert [(row["model_id"], row["path"], row["eligible"]) for row in index["ranked"]] == [
        (stage.active(), f"models/{stage.active()}", True)
    ]
    assert index["excluded"] == []
    assert {"generated_at", "schema_hash", "policy_version"} <= set(index)


def test_the_bundle_lies_in_models_and_nowhere_else(first: tuple[Stage, RetrainResult]) -> None:
    stage, _ = first
    assert [path.relative_to(stage.home.root) for path in stage.home.root.rglob("model.txt")] == [
        Path("models") / stage.active() / "model.txt"
    ]


def test_the_bundle_records_everything_needed_to_repeat_its_training(first: tuple[Stage, RetrainResult]) -> None:
    stage, _ = first
    metadata = json.loads((stage.champion_bundle() / "metadata.json").read_text(encoding="utf-8"))
    assert len(metadata["artifact_hash"]) == len(metadata["tree_hash"]) == len(metadata["dataset_digest"]) == 64
    assert metadata["label_schema_version"] == "v1"
    assert metadata["user_count"] == 2
    assert set(metadata["class_distribution"]) == {"older", "train", "validation", "test"}
    assert metadata["params"]["num_boost_round"] == metadata["config"]["train_params"]["num_boost_round"] == 15
    assert metadata["params"]["seed"] == int(metadata["dataset_digest"][:7], 16)
    assert metadata["library_versions"]["lightgbm"]
    assert (stage.home.root / metadata["snapshot_path"] / "windows" / "part-000.parquet").is_file()
    assert metadata["refit"] is True


def test_the_decision_is_on_disk_with_every_gate_and_holds_when_checked_again(first: tuple[Stage, RetrainResult]) -> None:
    stage, result = first
    decisions, damaged = list_decisions(stage.home)
    assert (decisions, damaged) == ([result.decision], [])
    assert verify_stored(stage.home, decisions[0].decision_id) == (decisions[0], [])
    assert [gate.name for gate in decisions[0].gates] == list(REQUIRED_GATES)
    assert all(gate.detail for gate in decisions[0].gates)
    pointer = json.loads(stage.home.active_pointer.read_text(encoding="utf-8"))
    assert pointer["reason"]["decision_id"] == decisions[0].decision_id


def test_what_was_promoted_is_byte_for_byte_what_was_judged(first: tuple[Stage, RetrainResult]) -> None:
    stage, result = first
    assert result.decision is not None
    assert {name: len(digest) for name, digest in result.decision.challenger.files.items()} == {
        path.name: 64 for path in stage.champion_bundle().iterdir() if path.name not in (MANIFEST, MODEL_CARD)
    }
    assert find_manifest_problem(read_bundle_files(stage.champion_bundle())) is None
    assert load_bundle(stage.champion_bundle()).bundle.model_id == result.decision.challenger.model_id


# --- Look-back ----------------------------------------------------------------------------------------------------------------------


def test_the_look_back_counts_hours_not_days_and_ends_at_the_as_of_time(raw: Stage, tmp_path: Path) -> None:
    stage = raw.copy(tmp_path).with_config("")
    stage.config.write_text(
        stage.config.read_text(encoding="utf-8").replace("lookback_days: 20", "lookback_days: 2\ntraining_lookback_days: 1"),
        encoding="utf-8",
    )
    noon = AS_OF - timedelta(hours=12)
    stage.materialize("labeled_windows", as_of=noon.isoformat())
    read = stage.record("labeled_windows")
    half = LEARNABLE_DAY_WINDOWS // 2
    assert read["gold"] == 2 * (half + LEARNABLE_DAY_WINDOWS + half)  # an afternoon, a day, a morning of two users
    assert (read["range_start"], read["as_of"]) == ("2026-02-01T12:00:00Z", "2026-02-03T12:00:00Z")


def test_a_search_chooses_the_settings_once_and_the_next_run_keeps_them(raw: Stage, tmp_path: Path) -> None:
    stage = raw.copy(tmp_path).with_config("")
    stage.config.write_text(
        stage.config.read_text(encoding="utf-8").replace("search: off", "search: auto\nsearch_budget: 3.0"), encoding="utf-8"
    )
    searched = stage.retrain(at=FIRST)
    assert searched.decision is not None
    assert searched.decision.training is not None
    assert searched.decision.training.search is not None
    assert searched.decision.training.search.state == "searched"
    assert stage.materialize(*JUDGE[:3], at=FIRST + DAY, force=True).success
    kept = stage.record("challenger_model")["settings"]
    assert (kept["search"], kept["choice"]) == (None, searched.decision.training.choice.model_dump(mode="json"))
    assert kept["reason"].startswith("Kept from the search as of 2026-02-04")


# --- Nothing new, and force -----------------------------------------------------------------------------------------------------------


def test_without_new_labels_the_run_skips_and_leaves_models_as_they_were_byte_for_byte(
    first: tuple[Stage, RetrainResult], tmp_path: Path, snapshot: SnapshotAssertion
) -> None:
    stage = first[0].copy(tmp_path)
    before = contents(stage.home.models)
    result = stage.retrain(at=FIRST + 8 * DAY)
    assert (result.success, result.outcome, result.decision, result.pointer_moved) == (True, "SKIP", None, False)
    assert result.reason == stage.record("dataset_snapshot")["skip_reason"]
    assert masked(result.reason) == snapshot
    assert contents(stage.home.models) == before
    assert not list(stage.home.challengers.iterdir())
    assert len(list_decisions(stage.home)[0]) == 1
    last = read_last_decided(stage.home)
    assert last is not None
    assert not check_retrain_due(last, now=FIRST + 9 * DAY, cadence_days=7).due


def test_force_trains_the_same_trees_again_under_a_new_name(first: tuple[Stage, RetrainResult], tmp_path: Path) -> None:
    stage = first[0].copy(tmp_path)
    before = stage.active()
    result = stage.retrain(as_of=first[1].decision.as_of.isoformat(), force=True)
    assert result.decision is not None
    assert result.decision.options.forced
    assert result.decision.challenger.model_id != before
    trees = {
        json.loads((load.parent / "metadata.json").read_text(encoding="utf-8"))["tree_hash"]
        for load in stage.home.root.rglob("metadata.json")
    }
    assert len(trees) == 1
    assert result.decision.comparison is not None
    assert result.decision.comparison.macro_f1_delta == 0.0


# --- A better challenger --------------------------------------------------------------------------------------------------------------


def test_new_labels_bring_a_challenger_that_holds_its_own_and_takes_over(grown: Stage, tmp_path: Path) -> None:
    stage = grown.copy(tmp_path)
    before = stage.active()
    result = stage.retrain(at=SECOND)
    assert (result.outcome, result.pointer_moved) == ("PROMOTE", True)
    assert result.decision is not None
    assert result.decision.champion.model is not None
    assert (result.decision.champion.model.model_id, result.decision.champion.source) == (before, "policy")
    assert _gates(result.decision)["macro_f1_no_regression"] == "PASS"
    assert stage.active() == result.decision.challenger.model_id != before
    assert (stage.home.models / before / "model.txt").is_file()
    assert find_history_disagreement(read_registry_state(stage.home)) is None
    history = read_history(stage.home)
    entries, warnings = history.entries, list(history.problems.values())
    assert warnings == []
    ran = [(entry.action, Path(entry.new.model_dir).name) for entry in entries]
    assert ran == [("promote", before), ("adopt", before), ("promote", stage.active())]  # the calibrators are recorded, too
    assert entries[2].old == entries[1].new == entries[0].new


# --- A worse one ----------------------------------------------------------------------------------------------------------------------


Rejected = tuple[Stage, RetrainResult, Mapping[str, bytes]]


def test_a_challenger_that_learned_from_shuffled_labels_is_rejected_and_the_run_is_green(rejected: Rejected) -> None:
    _, result, _ = rejected
    assert (result.success, result.outcome, result.pointer_moved) == (True, "REJECT", False)
    assert result.decision is not None
    assert [name for name, status in _gates(result.decision).items() if status == "FAIL"] == [
        "macro_f1_no_regression",
        "not_worse_than_anchor",
    ]
    assert result.decision.comparison is not None
    assert result.decision.comparison.macro_f1_delta < -0.1


def test_a_rejection_leaves_models_as_they_were_byte_for_byte(rejected: Rejected) -> None:
    stage, _, before = rejected
    assert contents(stage.home.models) == before


def test_a_rejected_bundle_lies_beside_models_and_its_record_says_why(rejected: Rejected) -> None:
    stage, result, _ = rejected
    assert result.decision is not None
    folder = stage.home.rejected_models / result.decision.challenger.model_id
    assert load_bundle(folder).bundle.model_id == folder.name
    assert not list(stage.home.challengers.iterdir())
    newest = list_decisions(stage.home)[0][0]
    assert newest == result.decision
    failed = {gate.name for gate in newest.gates if gate.status == "FAIL"}
    assert set(re.findall(r"\w+", newest.reason)) & set(REQUIRED_GATES) == failed


def test_a_rejection_counts_as_a_decided_run(rejected: Rejected) -> None:
    last = read_last_decided(rejected[0].home)
    assert last is not None
    assert (last.outcome, last.decided_at) == ("REJECT", SECOND)
    assert not check_retrain_due(last, now=SECOND + 6 * DAY, cadence_days=7).due


def test_the_pointer_asset_launched_alone_after_a_rejection_changes_nothing_that_anyone_runs(rejected: Rejected, tmp_path: Path) -> None:
    stage = rejected[0].copy(tmp_path)
    before = contents(stage.home.models), contents(stage.home.rejected_models), contents(stage.home.processed)
    result = stage.materialize(*APPLY, at=SECOND + timedelta(hours=1))
    assert result.success
    assert result.get_asset_materialization_events() == []
    assert (contents(stage.home.models), contents(stage.home.rejected_models), contents(stage.home.processed)) == before


def test_the_pointer_asset_launched_alone_later_does_not_put_off_the_next_retrain(rejected: Rejected, tmp_path: Path) -> None:
    stage = rejected[0].copy(tmp_path)
    stage.materialize(*APPLY, at=SECOND + 6 * DAY)
    last = read_last_decided(stage.home)
    assert last is not None
    assert last.decided_at == SECOND


# --- A decision that was edited, or is out of date --------------------------------------------------------------------------------------


def _edit_record(stage: Stage, **changes: object) -> None:
    path = stage.home.records / "promotion_decision" / "latest.json"
    edit_json(path, changes)


def _flip_verdict_and_gates(stage: Stage) -> None:
    gates = [{**gate, "status": "PASS"} if gate["status"] == "FAIL" else gate for gate in stage.record("promotion_decision")["gates"]]
    passed = sum(gate["status"] == "PASS" for gate in gates)
    _edit_record(stage, verdict="PROMOTE", gates=gates, reason=f"All {passed} gates that apply passed.")


def _empty_gates(stage: Stage) -> None:
    _edit_record(stage, verdict="PROMOTE", gates=[])


@pytest.mark.parametrize("edit", [_flip_verdict_and_gates, _empty_gates])
def test_a_rejection_edited_into_a_promotion_is_refused_and_nothing_changes(
    rejected: Rejected, tmp_path: Path, edit: Callable[[Stage], None]
) -> None:
    stage = rejected[0].copy(tmp_path)
    edit(stage)
    before = contents(stage.home.models), contents(stage.home.rejected_models), contents(stage.home.decisions)
    result = stage.materialize(*APPLY)
    assert not result.success
    assert "decision_hash" in _refusal(result)
    assert (contents(stage.home.models), contents(stage.home.rejected_models), contents(stage.home.decisions)) == before


def test_a_rejection_edited_to_be_about_the_champion_does_not_take_it_away(rejected: Rejected, tmp_path: Path) -> None:
    stage = rejected[0].copy(tmp_path)
    _edit_record(stage, challenger={**stage.record("promotion_decision")["challenger"], "model_id": stage.active()})
    before = contents(stage.home.models)
    stage.materialize(*APPLY)
    assert contents(stage.home.models) == before


def test_a_decision_to_promote_moves_the_pointer_once(decided: Stage, tmp_path: Path) -> None:
    stage = decided.copy(tmp_path)
    before = stage.active()
    assert stage.materialize(*APPLY).success
    assert stage.active() == stage.decision().challenger.model_id != before
    after = contents(stage.home.root)
    again = stage.materialize(*APPLY, at=SECOND + DAY)
    assert again.success
    assert again.get_asset_materialization_events() == []
    assert contents(stage.home.root) == after


def test_the_decision_counts_not_the_score_that_a_bundle_says_of_itself(decided: Stage, tmp_path: Path) -> None:
    stage = decided.copy(tmp_path)
    old = stage.active()
    stage.materialize(*APPLY)
    challenger = json.loads((stage.champion_bundle() / "metrics.json").read_text(encoding="utf-8"))
    assert challenger["macro_f1"] < STALE_SCORE
    assert stage.active() != old


def test_a_promotion_resets_calibrators_and_the_record_keeps_the_old_policy(decided: Stage, tmp_path: Path) -> None:
    stage = decided.copy(tmp_path)
    before = json.loads(stage.home.inference_policy.read_text(encoding="utf-8"))
    assert before["calibrator_store_dir"] == "artifacts/calibrator_store"
    stage.materialize(*APPLY)
    after = json.loads(stage.home.inference_policy.read_text(encoding="utf-8"))
    assert (after["calibrator_store_dir"], after["calibration_method"], after["per_user_reject_thresholds"]) == (None, None, None)
    assert after["model_dir"] == f"models/{stage.active()}"
    assert stage.decision().registry.previous_policy == before


def _move_pointer(stage: Stage) -> None:
    write_tiny_bundle(stage.home.models / OLD)
    point_at(stage.home, OLD)


def _tune_threshold(stage: Stage) -> None:
    edit_json(stage.home.inference_policy, {"reject_threshold": 0.61})


def _exchange_file(stage: Stage) -> None:
    edit_json(stage.home.challengers / stage.decision().challenger.model_id / "metadata.json", {"reject_threshold": 0.01})


def _remove_bundle(stage: Stage) -> None:
    shutil.rmtree(stage.home.challengers / stage.decision().challenger.model_id)


OUTDATED: dict[str, tuple[Callable[[Stage], None], str]] = {
    "the pointer moved": (_move_pointer, "active.json"),
    "the policy changed": (_tune_threshold, "inference_policy.json"),
    "a file of the bundle changed": (_exchange_file, "metadata.json"),
    "the bundle is gone": (_remove_bundle, "{challenger}"),
}
"""A change of the home since the decision, and the file or bundle that the refusal names."""


@pytest.mark.parametrize("case", OUTDATED)
def test_a_decision_that_no_longer_fits_the_home_is_refused_and_nothing_changes(decided: Stage, tmp_path: Path, case: str) -> None:
    change, name = OUTDATED[case]
    stage = decided.copy(tmp_path)
    change(stage)
    before = contents(stage.home.models)
    result = stage.materialize(*APPLY)
    assert not result.success
    assert name.format(challenger=stage.decision().challenger.model_id) in _refusal(result)
    assert contents(stage.home.models) == before


# --- Dry run, and waiting for approval ------------------------------------------------------------------------------------------------


def test_a_dry_run_decides_moves_nothing_and_does_not_count(judged: Stage, tmp_path: Path) -> None:
    stage = judged.copy(tmp_path)
    before, last = contents(stage.home.models), read_last_decided(stage.home)
    result = stage.materialize(*DECIDE, *APPLY, dry_run=True)
    decision = stage.decision()
    assert result.success
    assert (decision.verdict, decision.options.dry_run, decision.outcome) == ("PROMOTE", True, "PROMOTE (dry run)")
    assert contents(stage.home.models) == before
    assert (stage.home.rejected_models / decision.challenger.model_id).is_dir()
    assert read_last_decided(stage.home) == last
    assert "active_pointer" not in {event.asset_key.to_user_string() for event in result.get_asset_materialization_events()}


def test_without_auto_promote_a_passing_challenger_waits_for_a_person(raw: Stage, tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    stage = raw.copy(tmp_path).with_config("")
    stage.config.write_text(stage.config.read_text(encoding="utf-8").replace("auto_promote: true\n", ""), encoding="utf-8")
    result = stage.retrain()
    assert (result.success, result.outcome, result.pointer_moved) == (True, "AWAITING_APPROVAL", False)
    assert result.reason == snapshot
    assert result.decision is not None
    assert load_bundle(stage.home.pending_models / result.decision.challenger.model_id)
    assert contents(stage.home.models) == {}  # but for the lock
    last = read_last_decided(stage.home)
    assert last is not None
    assert last.outcome == "AWAITING_APPROVAL"


# --- A champion that is broken ----------------------------------------------------------------------------------------------------------


def _truncated_encoders(bundle: Path) -> None:
    path = bundle / "categorical_encoders.json"
    path.write_bytes(path.read_bytes()[:-20])


BROKEN: dict[str, tuple[Damage, str]] = {
    "encoders truncated": (_truncated_encoders, "unreadable"),
    "schema_hash changed": (lambda bundle: edit_json(bundle / "metadata.json", {"schema_hash": "4077fe0dba71"}), "incompatible"),
    "model.txt missing": (lambda bundle: (bundle / "model.txt").unlink(), "unreadable"),
    "the bundle is gone": (shutil.rmtree, "unreadable"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_champion_that_broke_with_nothing_before_it_holds_the_challenger_back(judged: Stage, tmp_path: Path, case: str) -> None:
    damage, state = BROKEN[case]
    stage = judged.copy(tmp_path)
    damage(stage.champion_bundle())
    before = contents(stage.home.models)
    result = stage.materialize(*DECIDE, *APPLY)
    decision = stage.decision()
    assert result.success
    assert (decision.verdict, decision.champion.state, decision.champion.model) == ("HOLD", state, None)
    assert _gates(decision)["macro_f1_no_regression"] == "INCONCLUSIVE"
    assert "bootstrap" in decision.reason
    assert contents(stage.home.models) == before
    assert (stage.home.pending_models / decision.challenger.model_id).is_dir()
    red = {evaluation.check_name for evaluation in result.get_asset_check_evaluations() if not evaluation.passed}
    assert {"is_what_taskclf_runs", "macro_f1_no_regression", "scored_on_the_challengers_windows"} <= red


def test_bootstrap_overrides_a_broken_champion_and_the_decision_says_so(judged: Stage, tmp_path: Path) -> None:
    stage = judged.copy(tmp_path)
    BROKEN["model.txt missing"][0](stage.champion_bundle())
    result = stage.materialize(*DECIDE, *APPLY, bootstrap=True)
    decision = stage.decision()
    assert result.success
    assert (decision.verdict, decision.options.bootstrap) == ("PROMOTE", True)
    gate = next(gate for gate in decision.gates if gate.name == "macro_f1_no_regression")
    assert (gate.status, gate.overridden) == ("NOT_APPLICABLE", True)
    assert stage.active() == decision.challenger.model_id
    assert find_pointer_problem(read_registry_state(stage.home)) is None


def test_a_broken_champion_is_replaced_in_the_comparison_by_the_last_known_good(judged: Stage, tmp_path: Path) -> None:
    stage = judged.copy(tmp_path)
    broken = stage.active()
    write_tiny_bundle(stage.home.models / OLD)
    own = stage.home.active_history.read_text(encoding="utf-8")
    older = json.dumps({"at": "2026-01-10T06:00:00+00:00", "old": None, "new": pointer_to(OLD)})
    stage.home.active_history.write_text(f"{older}\n{own}", encoding="utf-8")
    repair(stage.home, at=SECOND)  # notes that the history was edited
    _truncated_encoders(stage.champion_bundle())
    result = stage.materialize(*DECIDE, *APPLY)
    decision = stage.decision()
    assert result.success
    assert decision.champion.model is not None
    assert (decision.champion.model.model_id, decision.champion.source, decision.champion.state) == (OLD, "last_known_good", "ok")
    assert any("categorical_encoders.json" in warning for warning in decision.champion.warnings)
    assert decision.verdict == "PROMOTE"
    assert stage.active() not in {broken, OLD}


def test_a_policy_that_names_another_model_than_the_pointer_is_followed_with_a_warning(judged: Stage, tmp_path: Path) -> None:
    stage = judged.copy(tmp_path)
    pointed = stage.active()
    write_tiny_bundle(stage.home.models / OLD)
    write_policy(stage.home, OLD)
    result = stage.materialize(*DECIDE)
    decision = stage.decision()
    assert decision.champion.model is not None
    assert (decision.champion.model.model_id, decision.champion.source) == (OLD, "policy")
    assert [warning for warning in decision.champion.warnings if OLD in warning and pointed in warning]
    evaluation = next(e for e in result.get_asset_check_evaluations() if e.check_name == "is_what_taskclf_runs")
    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.WARN)


# --- A champion of another schema version ---------------------------------------------------------------------------------------------


def test_a_v1_champion_is_compared_with_a_v3_challenger_on_the_windows_that_both_versions_have(
    first: tuple[Stage, RetrainResult], tmp_path: Path
) -> None:
    stage = first[0].copy(tmp_path)
    champion = stage.active()
    add_learnable_days(stage.home)
    add_learnable_days(stage.home, first=AS_OF - DAYS * DAY, days=DAYS + 1, version="v3")
    newest, noon = day_file(stage.home, AS_OF.date(), version="v1"), AS_OF + DAY / 2
    mornings = pq.read_table(newest, filters=[("bucket_start_ts", "<", noon)])
    pq.write_table(mornings, newest)  # at noon of the newest day taskclf was upgraded, and wrote v3 from then on
    result = stage.retrain(at=SECOND)
    assert result.decision is not None
    snapshot = stage.record("dataset_snapshot")
    assert snapshot["schema_version"] == "v3"
    rows = read_snapshot_rows(stage.home.root / str(snapshot["path"]), splits=("test",))
    missing = int((rows["bucket_start_ts"] >= noon).sum())
    assert 0 < missing < len(rows)
    assert result.decision.champion.model is not None
    assert result.decision.champion.model.model_id == champion
    assert result.decision.comparison is not None
    assert (result.decision.comparison.left_out, result.decision.comparison.windows) == (missing, len(rows) - missing)
    report = stage.record("champion_report")
    assert report["windows_without_features"] == missing
    assert report["report"]["schema_version"] == "v1"
    predicted = pq.read_table(stage.home.root / report["report"]["predictions"]["path"])["key"].to_numpy()
    old = rows[rows["bucket_start_ts"] < noon].reset_index(drop=True)
    assert set(predicted.tolist()) == set(hash_row_keys(old).tolist())
