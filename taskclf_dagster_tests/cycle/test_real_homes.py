"""Whole runs on real homes: a real person's month, and a home as the original tool's own command line left it.

They are found through TASKCLF_DAGSTER_REAL_HOMES alone, and copied, because a run writes into its home.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import dagster as dg
import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import list_decisions, verify_stored
from taskclf_dagster.domain.models.bundle import load_bundle
from taskclf_dagster.domain.registry.fsck import check_registry
from taskclf_dagster.domain.registry.health import find_history_disagreement, find_pointer_problem
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.domain.registry.index_cache import read_index_cache
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.domain.registry.promotion import approve
from taskclf_dagster.domain.registry.ranking import find_best_model
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.retraining.recomputation import recompute_decision
from taskclf_dagster.domain.retraining.reports import ChallengerReport, ChampionReport
from taskclf_dagster.domain.scheduling.cadence import check_calibrator_update_due
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import contents, copy_real_home

pytestmark = pytest.mark.real_home

ACTIVE = "2026-11-20_214705_run-9706"
OLDER = "2026-11-20_214634_run-9393"
NEVER_LABELLED = ("BreakIdle", "Build", "Debug")
WINDOWS = 5260
SHIPPED, SEARCH_OFF, SEARCHED = "{}\n", "search: off\n", "academic-v1"


@dataclass(frozen=True)
class Run:
    """A whole run on a copy of a real home."""

    name: str
    home: Home
    before: dict[str, bytes]
    result: dg.ExecuteInProcessResult

    @property
    def checks(self) -> dict[str, dg.AssetCheckEvaluation]:
        return {evaluation.check_name: evaluation for evaluation in self.result.get_asset_check_evaluations()}

    @property
    def snapshot(self) -> DatasetSnapshot:
        return self.result.output_for_node("dataset_snapshot")

    @property
    def challenger(self) -> ChallengerReport:
        return self.result.output_for_node("challenger_report")

    @property
    def champion(self) -> ChampionReport:
        return self.result.output_for_node("champion_report")

    @property
    def decision(self) -> PromotionDecision:
        return self.result.output_for_node("promotion_decision")


def _run(source: Path, target: Path, *, as_of: str, settings: str = SEARCH_OFF, **form: object) -> Run:
    """Runs with the shipped settings but for these; a search takes most of the time of a run, and one of the homes is enough for it."""
    home = copy_real_home(source, target)
    before = contents(home.root)
    config = target.parent / "own.yaml"
    config.write_text(settings, encoding="utf-8")
    definitions = build_definitions(home=HomeResource(root=str(home.root)), clock=ClockResource(fixed=as_of))
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_job_def("retrain").execute_in_process(
            run_config={"as_of": as_of, "config_path": str(config), **form}, instance=instance, raise_on_error=False
        )
    return Run(source.name, home, before, result)


@pytest.fixture(scope="module", params=["academic-v1", "academic-v3"])
def person(request: pytest.FixtureRequest, real_homes: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A real person's month, labelled by hand, in which no break was ever labelled."""
    settings = SHIPPED if request.param == SEARCHED else SEARCH_OFF
    return _run(real_homes / request.param, tmp_path_factory.mktemp("person") / "home", as_of="2023-04-03", settings=settings)


@pytest.fixture(scope="module")
def original(real_homes: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A home with models, pointer, history, policy and calibrators of the original tool."""
    return _run(real_homes / "original-home", tmp_path_factory.mktemp("original") / "home", as_of="2026-02-04")


@pytest.fixture(scope="module")
def bootstrapped(real_homes: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same home, where a person lets the absolute gates alone decide."""
    return _run(real_homes / "original-home", tmp_path_factory.mktemp("bootstrapped") / "home", as_of="2026-02-04", bootstrap=True)


# --- A real person's month --------------------------------------------------------------------------------------------------------


def test_every_day_of_a_real_person_is_read_and_breaks_no_contract(person: Run) -> None:
    assert person.result.success
    assert [e.check_name for e in person.checks.values() if e.blocking and not e.passed] == []
    labeled = person.result.output_for_node("labeled_windows")
    assert (labeled.windows, len(labeled.days), labeled.unreadable_days) == (WINDOWS, 20, [])
    assert f"academic-{labeled.schema_version}" == person.name
    assert labeled.gold > 3000


def test_a_month_without_breaks_holds_and_names_what_to_label(person: Run) -> None:
    decision = person.decision
    assert decision.verdict == "HOLD"
    feasibility = person.snapshot.feasibility
    assert (feasibility.promotable, len(feasibility.reasons), len(feasibility.advice)) == (False, 1, 1)
    assert all("BreakIdle" in text and "30" in text for text in (*feasibility.reasons, *feasibility.advice))
    assert decision.reason.startswith(feasibility.summary)
    assert feasibility.summary == person.checks["a_model_could_be_promoted"].description
    assert not person.checks["a_model_could_be_promoted"].passed


def test_labels_that_were_never_given_are_counted_as_such(person: Run) -> None:
    train = person.snapshot.class_distribution["train"]
    assert [label for label, windows in train.items() if windows == 0] == list(NEVER_LABELLED)
    assert not person.checks["every_class_has_support"].passed


def test_a_model_of_a_real_person_is_better_than_a_table_of_apps(person: Run) -> None:
    evaluation = person.checks["beats_lookup_baseline"]
    assert (evaluation.passed, evaluation.severity) == (True, dg.AssetCheckSeverity.ERROR)
    lookup = person.challenger.lookup_baseline
    assert lookup is not None
    assert lookup.model is not None
    assert lookup.baseline is not None
    assert lookup.model > lookup.baseline > 0.43
    assert str(lookup.windows) in (evaluation.description or "")


def test_its_challenger_waits_beside_models_and_nothing_of_the_home_has_changed(person: Run) -> None:
    decision = person.decision
    assert (person.home.pending_models / decision.challenger.model_id / "model.txt").is_file()
    assert contents(person.home.models) == {}  # but for the lock
    after = contents(person.home.root)
    assert {name: after[name] for name in person.before} == person.before


# --- The original's own home --------------------------------------------------------------------------------------------------------


def test_everything_the_original_wrote_is_understood(real_homes: Path) -> None:
    home = Home(real_homes / "original-home")
    history = read_history(home)
    entries, warnings = history.entries, list(history.problems.values())
    assert ([Path(entry.new.model_dir).name for entry in entries], warnings) == ([OLDER, ACTIVE], [])
    pointer = read_active(home)
    assert pointer is not None
    assert pointer.model_id == ACTIVE
    index = read_index_cache(home)
    assert index is not None
    assert index.best_model_id == ACTIVE
    report = find_best_model(home.models)
    assert ([bundle.model_id for bundle in report.ranked], report.excluded) == ([ACTIVE, OLDER], [])
    assert find_pointer_problem(read_registry_state(home)) is None
    assert find_history_disagreement(read_registry_state(home)) is None
    due = check_calibrator_update_due(home, now=datetime(2027, 1, 1, tzinfo=UTC), cadence_days=7)
    assert due.kind == "never_done"  # its policy names no calibrators for the model that runs


def test_its_champion_is_what_the_policy_names_and_is_scored_on_the_challengers_windows(original: Run) -> None:
    assert original.result.success
    champion, challenger = original.champion, original.challenger
    assert (champion.state, champion.source, champion.model_id, champion.warnings) == ("ok", "policy", ACTIVE, [])
    assert champion.report is not None
    assert challenger.report is not None
    assert champion.report.rows_digest == challenger.report.rows_digest
    assert champion.report.windows == challenger.report.windows > 1000
    assert champion.report.macro_f1 > 0.5
    assert champion.report.reject_threshold == 0.55


def test_a_champion_that_was_trained_on_the_test_windows_is_a_warning_by_its_dates(original: Run) -> None:
    evaluation = original.checks["has_not_trained_on_them"]
    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert original.champion.trained_on_evidence == "training_dates"
    assert original.champion.windows_trained_on > 0


COMPARED = ("macro_f1_no_regression", "no_user_clearly_worse", "no_class_clearly_worse", "negative_flips")
"""Gates that need windows which neither model learned from."""


def test_a_champion_that_learned_from_every_window_cannot_be_compared_with_so_the_challenger_is_held(original: Run) -> None:
    decision = original.decision
    assert (decision.verdict, decision.champion.state) == ("HOLD", "ok")
    assert decision.champion.model is not None
    assert decision.champion.model.model_id == ACTIVE
    assert decision.comparison is not None
    assert decision.comparison.windows == 0
    assert decision.comparison.exclusion.excluded == original.champion.windows_trained_on == original.snapshot.rows["test"]
    gates = {gate.name: gate.status for gate in decision.gates}
    assert {name: gates[name] for name in COMPARED} == dict.fromkeys(COMPARED, "INCONCLUSIVE")
    assert {gate.status for gate in decision.gates if gate.kind == "candidate"} == {"PASS", "NOT_APPLICABLE"}


def test_the_reason_to_hold_says_how_many_newer_windows_are_needed_and_names_the_override(
    original: Run, snapshot: SnapshotAssertion
) -> None:
    reason = original.decision.reason
    assert [gate for gate in COMPARED if gate in reason] == list(COMPARED)
    assert (reason.count("min_windows"), "bootstrap" in reason) == (1, True)  # four gates lack the same thing, which is said once
    assert reason == snapshot


def test_the_decision_about_the_original_champion_is_kept_and_holds_when_checked_again(original: Run) -> None:
    decision = original.decision
    assert list_decisions(original.home) == ([decision], [])
    assert verify_stored(original.home, decision.decision_id) == (decision, [])
    waiting = original.home.pending_models / decision.challenger.model_id
    assert load_bundle(waiting).bundle.model_id == decision.challenger.model_id
    assert not list(original.home.challengers.iterdir())


def test_a_run_that_is_held_leaves_everything_that_the_original_wrote_in_models(original: Run) -> None:
    assert {f"models/{name}": content for name, content in contents(original.home.models).items()} == {
        name: content for name, content in original.before.items() if name.startswith("models/")
    }


def test_with_bootstrap_the_absolute_gates_alone_decide(bootstrapped: Run, original: Run) -> None:
    decision, held = bootstrapped.decision, original.decision
    assert (decision.options.bootstrap, held.options.bootstrap) == (True, False)
    assert decision.verdict == "AWAITING_APPROVAL"  # auto_promote is off as shipped
    gates = {gate.name: gate for gate in decision.gates}
    assert {gates[name].status for name in COMPARED} == {"NOT_APPLICABLE"}
    assert [gate for gate in decision.gates if gate.kind == "candidate"] == [gate for gate in held.gates if gate.kind == "candidate"]
    assert verify_stored(bootstrapped.home, decision.decision_id) == (decision, [])


def test_the_receipt_of_a_bootstrap_says_what_was_overridden_and_why(bootstrapped: Run, original: Run) -> None:
    decision = bootstrapped.decision
    assert [sum("bootstrap" in line for line in run.decision.protections) for run in (bootstrapped, original)] == [1, 0]
    assert {gate.name for gate in decision.gates if gate.overridden} == set(COMPARED)
    assert not any(gate.overridden for gate in original.decision.gates)


@pytest.mark.parametrize("run", ["original", "bootstrapped"])
def test_a_person_sees_the_comparison_that_could_not_be_made(run: str, request: pytest.FixtureRequest) -> None:
    found: Run = request.getfixturevalue(run)
    check = found.checks["macro_f1_no_regression"]
    assert check.passed is (run == "bootstrapped")
    (gate,) = [gate for gate in found.decision.gates if gate.name == "macro_f1_no_regression"]
    assert gate.detail in (check.description or "")
    shown = found.result.asset_materializations_for_node("promotion_decision")[0].metadata
    assert found.decision.comparison is not None
    assert found.decision.comparison.exclusion.summary in str(shown["comparison"].value)
    certificates = {row.data["model"]: row.data for row in shown["learned_from"].records}
    assert (certificates[ACTIVE]["by"], certificates[ACTIVE]["learned"]) == ("training dates", found.snapshot.rows["test"])


def test_a_person_may_approve_what_a_bootstrap_left_to_them_and_taskclf_runs_it(bootstrapped: Run, tmp_path: Path) -> None:
    home = copy_real_home(bootstrapped.home.root, tmp_path / "home")
    decision = bootstrapped.decision
    pointer = approve(home, decision.decision_id, recompute=partial(recompute_decision, cores=1), at=datetime(2026, 2, 5, tzinfo=UTC))
    assert pointer.name == decision.challenger.model_id
    assert find_pointer_problem(read_registry_state(home)) is None
    assert [finding.detail for finding in check_registry(home) if finding.severity == "damage"] == []
    assert [entry.new.name for entry in read_history(home).moves if entry.new][:2] == [OLDER, ACTIVE]


@pytest.mark.parametrize("run", ["original", "bootstrapped"])
def test_models_of_the_original_are_left_as_they_were_and_so_is_everything_else(run: str, request: pytest.FixtureRequest) -> None:
    found: Run = request.getfixturevalue(run)
    after = contents(found.home.root)
    assert {name: after[name] for name in found.before} == found.before
    ours = {name.split("/")[1] for name in after.keys() - found.before.keys() if "/" in name}
    assert ours <= {
        "home_id.json",
        "challengers",
        "pending_models",
        "rejected_models",
        "labeled_windows",
        "snapshots",
        "predictions",
        "decisions",
        "records",
        "outbox",
        "reports",
        "suggestions",
        ".retrain.lock",
    }
