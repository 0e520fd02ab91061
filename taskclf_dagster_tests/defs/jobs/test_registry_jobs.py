"""The jobs for a person: their launch forms, what becomes of the home, what a person sees, and what a refusal leaves."""

import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource
from taskclf_dagster.domain.data.hashing import frame_digest
from taskclf_dagster.domain.data.snapshot_rows import read_snapshot_rows
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.registry.fsck import check_registry
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.home import Home
from taskclf_dagster.shown_text import counted
from taskclf_dagster_tests.models import AT, MID, NEW, OLD, all_gates, contents, point_at, snapshot_rows, write_tiny_bundle
from taskclf_dagster_tests.registry_scenario import NEXT, cut_off, judged, promoted, set_active
from taskclf_dagster_tests.retrain_scenario import Waiting
from taskclf_dagster_tests.runs import forget_home
from taskclf_dagster_tests.scenario import AS_OF, DAY, make_home

POINTER = dg.AssetKey("active_pointer")
LATER = AT + 5 * DAY
SNAPSHOT = "artifacts/snapshots/0a963156a3de73d5"


@dataclass(frozen=True)
class Office:
    """A home, and the instance in which its jobs are recorded."""

    home: Home
    instance: dg.DagsterInstance

    def launch(self, job: str, *, run_tags: Mapping[str, str] | None = None, **form: object) -> dg.ExecuteInProcessResult:
        definitions = build_definitions(home=HomeResource(root=str(self.home.root)), clock=ClockResource(fixed=LATER.isoformat()))
        return definitions.resolve_job_def(job).execute_in_process(
            run_config=form, instance=self.instance, raise_on_error=False, tags=run_tags
        )

    def active(self) -> str | None:
        pointer = read_active(self.home)
        return None if pointer is None else pointer.name

    def damage(self) -> list[str]:
        return [finding.detail for finding in check_registry(self.home) if finding.severity == "damage"]

    def moves_of(self, result: dg.ExecuteInProcessResult) -> list[dg.AssetMaterialization]:
        """What the run reported on the asset's page, as the instance has it."""
        records = self.instance.fetch_materializations(POINTER, limit=100).records
        return [record.asset_materialization for record in records if record.run_id == result.run_id and record.asset_materialization]

    def output(self, result: dg.ExecuteInProcessResult) -> dict[str, Any]:
        """The metadata of the only step's output."""
        (event,) = [event for event in result.all_events if event.is_successful_output]
        return _shown(event.step_output_data.metadata)

    def tags(self, result: dg.ExecuteInProcessResult) -> dict[str, str]:
        run = self.instance.get_run_by_id(result.run_id)
        assert run is not None
        return dict(run.tags)


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    """A real one, in SQLite, for all tests of this file: to make one takes seconds."""
    with dg.instance_for_test() as made:
        yield made


@pytest.fixture
def office(tmp_path: Path, instance: dg.DagsterInstance) -> Office:
    """Three models ran, the newest of them runs."""
    return Office(promoted(make_home(tmp_path), OLD, MID, NEW), instance)


Approver = tuple[Office, PromotionDecision]


@pytest.fixture
def approver(waiting_home: Waiting, tmp_path: Path, instance: dg.DagsterInstance) -> Approver:
    """A home without a champion whose first challenger awaits approval."""
    shutil.copytree(waiting_home[0].root, tmp_path / "waiting")
    return Office(Home(tmp_path / "waiting"), instance), waiting_home[1]


def _awaiting(home: Home, **options: object) -> PromotionDecision:
    """A challenger that a person has to approve, with the snapshot it was judged on; or one that was decided about otherwise."""
    folder = home.root / SNAPSHOT
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pandas(snapshot_rows(), preserve_index=False), folder / "windows.parquet")
    about: dict[str, object] = {"auto_promote": False, "as_of": AS_OF + DAY, "digest": frame_digest(read_snapshot_rows(folder))}
    return judged(home, NEXT, **{**about, **options})


def _shown(metadata: Mapping[str, dg.MetadataValue]) -> dict[str, Any]:
    """The plain values; a table is the list of its rows."""
    tables = {name: value.records for name, value in metadata.items() if isinstance(value, dg.TableMetadataValue)}
    return {name: [row.data for row in tables[name]] if name in tables else value.value for name, value in metadata.items()}


def _error(result: dg.ExecuteInProcessResult) -> list[str]:
    """The classes and messages of the failed step's error and its causes."""
    (event,) = [event for event in result.all_events if event.is_step_failure]
    error, words = event.step_failure_data.error, []
    while error is not None:
        words.append(error.message.strip())
        error = error.cause
    return words


# --- rollback -----------------------------------------------------------------------------------------------------------------------


def test_rollback_goes_back_to_the_model_before_in_one_record_and_blocks_what_it_left(office: Office) -> None:
    records = len(read_history(office.home).entries)
    result = office.launch("rollback", reason="meetings")
    assert result.success
    assert office.active() == MID
    history = read_history(office.home)
    last = history.entries[-1]
    assert len(history.entries) == records + 1
    assert (last.action, last.reason, last.run_id, last.at) == ("rollback", "meetings", result.run_id, LATER)
    assert set(history.blocked) == {NEW}
    assert office.damage() == []


def test_rollback_goes_to_the_model_that_was_named(office: Office) -> None:
    assert office.launch("rollback", to=OLD, reason="worse").success
    assert office.active() == OLD


def test_rollback_is_seen_on_the_page_of_the_pointer_and_as_the_outcome_of_the_run(office: Office) -> None:
    result = office.launch("rollback", reason="meetings")
    (move,) = office.moves_of(result)
    shown = {name: value.value for name, value in move.metadata.items()}
    history = read_history(office.home)
    receipt = next(entry.decision_id for entry in history.moves if entry.new.name == MID)
    assert shown == {
        "model_id": MID,
        "reason": "meetings",
        "previous": history.last_move.old.model_dir,
        "decision_id": receipt,
        "record": history.sequence,
        "macro_f1": 0.9,
        "pointer": str(office.home.active_pointer),
        "home": str(office.home.root),
    }
    assert move.description == "meetings"
    words, tags = office.output(result)["result"], office.tags(result)
    assert (tags[".dagster/taskclf_model"], tags["taskclf/outcome"], tags["taskclf/outcome_reason"]) == (MID, "DONE", words)


def test_rollback_a_second_time_goes_back_further_never_to_what_was_left(office: Office) -> None:
    office.launch("rollback", reason="one")
    assert office.launch("rollback", reason="two").success
    assert office.active() == OLD
    assert set(read_history(office.home).blocked) == {NEW, MID}


def test_a_rollback_that_is_refused_is_a_red_run_and_changes_nothing(office: Office, snapshot: SnapshotAssertion) -> None:
    before = contents(office.home.root)
    result = office.launch("rollback", reason="because", to=NEW)
    assert not result.success
    assert any("RegistryRefusedError" in message for message in _error(result))
    assert _error(result)[-1] == snapshot
    assert contents(office.home.root) == before
    assert office.moves_of(result) == []
    assert ".dagster/taskclf_model" not in office.tags(result)


# --- approve ------------------------------------------------------------------------------------------------------------------------


def test_approve_promotes_what_awaited_approval_and_the_record_says_that_a_person_did(approver: Approver) -> None:
    office, decision = approver
    result = office.launch("approve", decision_id=decision.decision_id)
    assert result.success, _error(result)
    assert office.active() == decision.challenger.model_id
    last = read_history(office.home).entries[-1]
    assert (last.action, last.decision_id, last.run_id) == ("promote", decision.decision_id, result.run_id)
    assert (last.reason.startswith("approved by a person. All "), "has to approve" in last.reason) == (True, False)
    assert office.damage() == []


def test_the_record_of_a_rollback_names_the_person_who_asked_for_it_over_page_or_api(office: Office) -> None:
    assert office.launch("rollback", reason="meetings", run_tags={"taskclf/user": "anna"}).success
    assert read_history(office.home).entries[-1].reason == "meetings (by anna)"


def test_the_record_of_an_approval_names_the_person_who_gave_it_over_page_or_api(approver: Approver) -> None:
    office, _ = approver
    assert office.launch("approve", run_tags={"taskclf/user": "anna"}).success
    assert str(read_history(office.home).entries[-1].reason).startswith("approved by anna. ")


def test_approve_is_seen_on_the_page_of_the_pointer_and_as_the_outcome_of_the_run(approver: Approver) -> None:
    office, decision = approver
    result = office.launch("approve", decision_id=decision.decision_id)
    (move,) = office.moves_of(result)
    shown = {name: value.value for name, value in move.metadata.items()}
    assert (shown["model_id"], shown["record"]) == (decision.challenger.model_id, read_history(office.home).sequence)
    assert decision.decision_id in shown["reason"]
    assert decision.challenger.model_id in office.output(result)["result"]
    assert office.tags(result)[".dagster/taskclf_model"] == decision.challenger.model_id


def test_approve_needs_no_id_where_one_decision_waits(approver: Approver) -> None:
    office, decision = approver
    assert office.launch("approve").success
    assert read_active(office.home).name == decision.challenger.model_id


def test_approve_a_second_time_changes_nothing(approver: Approver) -> None:
    office, decision = approver
    office.launch("approve", decision_id=decision.decision_id)
    before = contents(office.home.models)
    office.launch("approve", decision_id=decision.decision_id)
    assert contents(office.home.models) == before


def _edit_snapshot(home: Home, decision: PromotionDecision) -> None:
    path = home.root / decision.dataset.path / "windows" / "part-000.parquet"
    rows = pq.read_table(path).to_pandas()
    rows.loc[0, "keys_per_min"] += 1
    pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), path)


def _edit_bundle(home: Home, decision: PromotionDecision) -> None:
    with (home.pending_models / decision.challenger.model_id / "metrics.json").open("a", encoding="utf-8") as file:
        file.write("\n")


def _add_pointer(home: Home, decision: PromotionDecision) -> None:
    point_at(home, decision.challenger.model_id)


CHANGED = {
    "the snapshot": (_edit_snapshot, "snapshot"),
    "the bundle": (_edit_bundle, "metrics.json"),
    "the pointer": (_add_pointer, "active.json"),
}


@pytest.mark.parametrize("case", CHANGED)
def test_a_decision_that_no_longer_fits_is_not_approved_and_models_stay_byte_for_byte(approver: Approver, case: str) -> None:
    (office, decision), (change, name) = approver, CHANGED[case]
    change(office.home, decision)
    before = contents(office.home.models)
    result = office.launch("approve", decision_id=decision.decision_id)
    assert not result.success
    assert any("DecisionNotVerifiedError" in message and name in message for message in _error(result)), _error(result)
    assert contents(office.home.models) == before
    assert office.moves_of(result) == []


@pytest.mark.parametrize("name", ["2020-01-01_000000_00000000", "../decisions"])
def test_an_unknown_decision_is_refused_with_how_to_find_the_right_one(office: Office, name: str) -> None:
    before = contents(office.home.root)
    result = office.launch("approve", decision_id=name)
    assert not result.success
    assert any("DecisionNotFoundError" in message and repr(name) in message for message in _error(result))
    assert contents(office.home.root) == before


@pytest.mark.parametrize(
    ("options", "outcome"),
    [
        ({"gates": all_gates(macro_f1="FAIL")}, "REJECT"),
        ({"gates": all_gates(reproducible="INCONCLUSIVE")}, "HOLD"),
        ({"auto_promote": True}, "PROMOTE"),
        ({"dry_run": True}, "AWAITING_APPROVAL (dry run)"),
    ],
    ids=["rejected", "held", "promoted", "dry"],
)
def test_only_a_decision_that_awaits_approval_can_be_approved(office: Office, options: dict[str, object], outcome: str) -> None:
    decision = _awaiting(office.home, **options)
    assert decision.outcome == outcome
    before = contents(office.home.models)
    result = office.launch("approve", decision_id=decision.decision_id)
    assert not result.success
    assert any("DecisionNotVerifiedError" in message and outcome in message for message in _error(result)), _error(result)
    assert contents(office.home.models) == before
    assert office.moves_of(result) == []


# --- prune ----------------------------------------------------------------------------------------------------------------------------


REJECTED = [f"2026-01-0{number}_060000_run-0009" for number in (1, 2, 3)]


@pytest.fixture
def untidy(office: Office, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Office:
    """Three rejected bundles, of which the settings keep one."""
    for name in REJECTED:
        write_tiny_bundle(office.home.rejected_models / name)
    settings = tmp_path / "tidy.yaml"
    settings.write_text("keep_rejected: 1\n", encoding="utf-8")
    monkeypatch.setenv("TASKCLF_DAGSTER_CONFIG", str(settings))
    return office


def _rejected(home: Home) -> list[str]:
    return sorted(path.name for path in home.rejected_models.iterdir())


def test_prune_removes_what_the_settings_do_not_keep_and_says_what_why_and_how_much(untidy: Office) -> None:
    result = untidy.launch("prune")
    assert result.success
    assert _rejected(untidy.home) == REJECTED[2:]
    shown = untidy.output(result)
    assert str(shown["result"]).startswith("2 ")
    rows = shown["removed"]
    assert sorted(row["path"] for row in rows) == [f"artifacts/rejected_models/{name}" for name in REJECTED[:2]]
    assert all(row["why"] and row["MiB"] is not None for row in rows)
    assert NEW in {row["model"] for row in shown["kept_whatever_their_number"]}
    assert untidy.damage() == []


def test_a_dry_prune_lists_the_same_and_removes_nothing(untidy: Office) -> None:
    before = contents(untidy.home.root)
    result = untidy.launch("prune", dry_run=True)
    assert contents(untidy.home.root) == before
    shown = untidy.output(result)
    assert str(shown["result"]).startswith("2 ")
    assert sorted(row["path"] for row in shown["removed"]) == [f"artifacts/rejected_models/{name}" for name in REJECTED[:2]]


def test_a_prune_with_nothing_to_remove_is_green_and_says_so(office: Office) -> None:
    result = office.launch("prune")
    assert result.success
    assert office.output(result)["result"].startswith("0 ")


def test_what_came_of_a_job_is_among_the_tags_of_its_run_and_in_its_log(untidy: Office) -> None:
    result = untidy.launch("prune")
    words, tags = untidy.output(result)["result"], untidy.tags(result)
    assert (tags["taskclf/outcome"], tags["taskclf/outcome_reason"]) == ("DONE", words)
    assert tags[".dagster/taskclf_home"] == str(untidy.home.root)
    logged = [entry.user_message for entry in untidy.instance.all_logs(result.run_id)]
    assert words in logged


# --- verify_registry ------------------------------------------------------------------------------------------------------------------


def test_a_whole_registry_is_verified_green(office: Office) -> None:
    before = contents(office.home.root)
    result = office.launch("verify_registry")
    assert result.success
    assert contents(office.home.root) == before
    shown = office.output(result)
    assert shown["result"].split()[-2:] == ["0", "warnings"]
    assert shown["mended"] == "nothing"


def test_a_damaged_registry_is_red_in_the_words_of_the_check_and_with_what_to_do(office: Office) -> None:
    with (office.home.models / NEW / "metrics.json").open("a", encoding="utf-8") as file:
        file.write("\n")
    found = [finding for finding in check_registry(office.home) if finding.severity == "damage"]
    result = office.launch("verify_registry")
    assert not result.success
    assert found
    for finding in found:
        assert any(f"{finding.promise}: {finding.detail}. {finding.fix}" in message for message in _error(result)), _error(result)
    (event,) = [event for event in result.all_events if event.is_step_failure]
    shown = _shown(event.step_failure_data.user_failure_data.metadata)["findings"]
    assert [row["found"] for row in shown if row["severity"] == "damage"] == [finding.detail for finding in found]


def test_warnings_alone_leave_it_green_and_are_counted_and_listed(office: Office) -> None:
    set_active(office.home, MID, at=LATER)
    warnings = [finding for finding in check_registry(office.home) if finding.severity == "warning"]
    result = office.launch("verify_registry")
    assert office.damage() == []
    assert result.success
    shown = office.output(result)
    assert warnings
    assert shown["result"].split()[-2:] == counted(len(warnings), "warning").split()
    assert [row["found"] for row in shown["findings"]] == [finding.detail for finding in warnings]


def test_with_repair_what_was_cut_off_is_mended_first_and_then_verified(office: Office) -> None:
    cut_off(office.home, NEXT)
    assert office.damage() != []
    assert not office.launch("verify_registry").success
    assert office.active() == NEW
    result = office.launch("verify_registry", repair=True)
    assert result.success, _error(result)
    assert office.active() == NEXT
    assert office.output(result)["mended"] != "nothing"
    assert office.damage() == []


def test_without_repair_nothing_is_mended(office: Office) -> None:
    cut_off(office.home, NEXT)
    before = contents(office.home.root)
    office.launch("verify_registry")
    assert contents(office.home.root) == before


# --- The launch forms -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def jobs() -> dict[str, dg.JobDefinition]:
    definitions = build_definitions()
    return {name: definitions.resolve_job_def(name) for name in ("rollback", "approve", "prune", "verify_registry")}


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("rollback", {"reason": "because"}),
        ("rollback", {"to": OLD, "reason": "because"}),
        ("approve", {"decision_id": "d-1"}),
        ("prune", {}),
        ("prune", {"dry_run": True}),
        ("verify_registry", {}),
        ("verify_registry", {"repair": True}),
    ],
)
def test_a_right_form_is_flat(jobs: dict[str, dg.JobDefinition], name: str, form: dict[str, object]) -> None:
    dg.validate_run_config(jobs[name], form)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("rollback", {}),
        ("rollback", {"to": OLD}),
        ("rollback", {"reason": 7}),
        ("rollback", {"reason": "because", "too": OLD}),
        ("rollback", {"ops": {"roll_back": {"config": {"reason": "because"}}}}),
        ("approve", {"decision_id": 7}),
        ("approve", {"decision_id": "d-1", "force": True}),
        ("prune", {"dry_run": "yes"}),
        ("prune", {"keep": 3}),
        ("verify_registry", {"repair": 1}),
    ],
)
def test_a_wrong_form_is_refused_at_launch(jobs: dict[str, dg.JobDefinition], name: str, form: dict[str, object]) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError):
        dg.validate_run_config(jobs[name], form)


@pytest.mark.parametrize(
    ("name", "form", "field"), [("rollback", {"reason": ""}, "reason"), ("approve", {"decision_id": ""}, "decision_id")]
)
def test_an_empty_field_is_refused_at_launch(jobs: dict[str, dg.JobDefinition], name: str, form: dict[str, object], field: str) -> None:
    with pytest.raises(dg.DagsterConfigMappingFunctionError) as caught:
        dg.validate_run_config(jobs[name], form)
    assert field in str(caught.value.__cause__)


@pytest.mark.parametrize("name", ["rollback", "approve", "prune", "verify_registry"])
def test_each_job_runs_in_one_process_waits_for_no_retrain_and_explains_itself(jobs: dict[str, dg.JobDefinition], name: str) -> None:
    job = jobs[name]
    assert job.executor_def.name == "in_process"
    assert {node.definition.pool for node in job.graph.nodes} == {"registry"}
    assert len(job.description or "") > 40


# --- A home that is not there ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("job", "form"), [("rollback", {"reason": "worse"}), ("approve", {"decision_id": "d"}), ("prune", {}), ("verify_registry", {})]
)
def test_without_a_home_every_job_fails_and_makes_none(tmp_path: Path, job: str, form: dict[str, object]) -> None:
    folder = tmp_path / "dagster"
    folder.mkdir()
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        office = Office(Home(tmp_path / "nowhere"), instance)
        result = office.launch(job, **form)
        assert not result.success
        (failure,) = [event for event in result.all_events if event.is_step_failure]
        assert "HomeNotFoundError" in str(failure.step_failure_data.error)
    assert not (tmp_path / "nowhere").exists()


# --- Wording --------------------------------------------------------------------------------------------------------------------------


def test_what_a_job_says_it_did(untidy: Office, approver: Approver, snapshot: SnapshotAssertion) -> None:
    office, decision = approver
    said = {"approve": office.output(office.launch("approve", decision_id=decision.decision_id))["result"]}
    forget_home(Path(office.instance.root_directory))
    said |= {
        "prune dry": untidy.output(untidy.launch("prune", dry_run=True))["result"],
        "prune": untidy.output(untidy.launch("prune"))["result"],
        "rollback": untidy.output(untidy.launch("rollback", reason="worse"))["result"],
        "verify_registry": untidy.output(untidy.launch("verify_registry"))["result"],
    }
    assert {job: re.sub(r"\d+\.\d MiB", "N MiB", text.replace(decision.decision_id, "DECISION")) for job, text in said.items()} == snapshot
