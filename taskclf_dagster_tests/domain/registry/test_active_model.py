"""One answer to what taskclf runs: status, list, fsck and the champion agree, whatever policy and pointer name."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from taskclf_dagster.cli.main import main
from taskclf_dagster.domain.decision.references import AppliedThreshold
from taskclf_dagster.domain.models.bundle_files import MODEL
from taskclf_dagster.domain.models.bundle_problem import BundleProblem
from taskclf_dagster.domain.registry.active_model import find_active_model
from taskclf_dagster.domain.registry.champion import resolve_active_model
from taskclf_dagster.domain.registry.fsck import check_registry
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.domain.registry.inference_policy import DEFAULT_REJECT_THRESHOLD, read_policy
from taskclf_dagster.domain.registry.recovery import repair
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.home import Home
from taskclf_dagster.status.reader import read_status
from taskclf_dagster_tests.models import AT, MID, NEW, OLD, edit_json, point_at, write_policy, write_tiny_bundle
from taskclf_dagster_tests.registry_scenario import promoted, set_active
from taskclf_dagster_tests.runs import instance_in
from taskclf_dagster_tests.scenario import make_home, retrain_config

DANGLING = {"model_dir": "models/2026-01-10_060000_run-9999", "created_at": "2026-02-09T06:00:00+00:00"}
"""A policy that another program wrote, of a model that was removed."""

HOMES: dict[str, tuple[Callable[[Home], object], str | None, str]] = {
    "as promoted": (lambda home: promoted(home, OLD, NEW), NEW, "policy"),
    "policy and pointer apart": (lambda home: [promoted(home, OLD, NEW), set_active(home, OLD)], NEW, "policy"),
    "policy removed": (lambda home: [promoted(home, OLD, NEW), home.inference_policy.unlink()], NEW, "pointer"),
    "policy dangling": (lambda home: [write_tiny_bundle(home.models / OLD), point_at(home, OLD), write_policy(home, NEW)], OLD, "pointer"),
    "policy dangling, with a history": (
        lambda home: [promoted(home, OLD, NEW), edit_json(home.inference_policy, DANGLING)],
        NEW,
        "pointer",
    ),
    "policy unreadable": (lambda home: [promoted(home, OLD, NEW), home.inference_policy.write_text("{")], NEW, "pointer"),
    "pointer dangling": (lambda home: [write_tiny_bundle(home.models / MID), point_at(home, NEW)], MID, "best_by_rank"),
    "model damaged": (lambda home: [promoted(home, OLD, NEW), (home.models / NEW / MODEL).unlink()], OLD, "last_known_good"),
    "nothing": (lambda home: None, None, "none"),
}
"""Homes, the model that taskclf runs and where it is found."""


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with instance_in(tmp_path) as instance:
        yield instance


@pytest.mark.parametrize("name", HOMES)
def test_every_view_names_the_same_model(tmp_path: Path, instance: dg.DagsterInstance, name: str) -> None:
    make, model_id, source = HOMES[name]
    home = make_home(tmp_path)
    make(home)
    champion = resolve_active_model(read_registry_state(home))
    assert (champion.model_dir, champion.source) == (None if model_id is None else f"models/{model_id}", source)
    status = read_status(instance, home, config=retrain_config(), now=AT)
    threshold = None if champion.model is None else champion.model.reject_threshold
    assert (status.active_model, status.active_model_source, status.reject_threshold) == (model_id, source, threshold)
    listed = CliRunner().invoke(main, ["list", "--home", str(home.root), "--json"])
    assert json.loads(listed.stdout)["active"] == model_id
    checked = CliRunner().invoke(main, ["registry", "fsck", "--home", str(home.root)])
    assert f"active model: {find_active_model(read_registry_state(home)).summary}" in checked.stdout


def test_a_policy_and_a_pointer_that_disagree_are_a_warning_of_status_and_fsck(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    home = promoted(make_home(tmp_path), OLD, NEW)
    agreeing = len(read_status(instance, home, config=retrain_config(), now=AT).warnings)
    set_active(home, OLD)
    assert [warning.kind for warning in find_active_model(read_registry_state(home)).warnings] == ["policy_names_another_model"]
    warnings = read_status(instance, home, config=retrain_config(), now=AT).warnings
    assert (len(warnings), NEW in warnings[-1], OLD in warnings[-1]) == (agreeing + 1, True, True)
    assert "policy_names_another_model" in {finding.code for finding in check_registry(home)}


def test_a_model_without_a_policy_is_shown_with_the_threshold_that_taskclf_applies(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    home = make_home(tmp_path)
    write_tiny_bundle(home.models / MID, metadata={"reject_threshold": 0.31})
    point_at(home, MID)
    active = find_active_model(read_registry_state(home))
    assert active.threshold is not None
    assert (active.threshold.value, active.threshold.origin) == (DEFAULT_REJECT_THRESHOLD, "default")
    assert [warning.kind for warning in active.warnings] == ["threshold_differs"]
    assert active.details("threshold_differs")[0] in read_status(instance, home, config=retrain_config(), now=AT).warnings
    assert {finding.code for finding in check_registry(home)} >= {"policy_missing"}


@pytest.mark.parametrize("name", ["policy dangling, with a history", "policy unreadable"])
def test_without_a_policy_that_it_can_follow_taskclf_applies_its_default_and_what_a_repair_restores_is_a_warning(
    tmp_path: Path, instance: dg.DagsterInstance, name: str
) -> None:
    home = make_home(tmp_path)
    HOMES[name][0](home)
    status = read_status(instance, home, config=retrain_config(), now=AT)
    assert (status.reject_threshold, "taskclf's default" in status.active_model_summary) == (DEFAULT_REJECT_THRESHOLD, True)
    restored = read_history(home).policies[0]
    assert (
        f"a repair would restore the recorded policy of {NEW}, with reject threshold {restored['reject_threshold']:.4g}" in status.warnings
    )
    repair(home, at=AT)
    assert read_policy(home) == restored
    assert find_active_model(read_registry_state(home)).threshold == AppliedThreshold(value=restored["reject_threshold"], origin="policy")


def test_a_threshold_is_never_that_of_a_policy_of_another_model(tmp_path: Path) -> None:
    home = promoted(make_home(tmp_path), OLD, NEW)
    set_active(home, OLD)
    state = read_registry_state(home)
    assert find_active_model(state).source == "policy"
    state.note_problem(f"models/{NEW}", BundleProblem(code="not_loadable", detail="LightGBM does not load it"))  # found by loading it only
    active = find_active_model(state)
    assert active.threshold is not None
    assert (active.source, active.model_id, active.threshold.value) == ("pointer", OLD, DEFAULT_REJECT_THRESHOLD)
