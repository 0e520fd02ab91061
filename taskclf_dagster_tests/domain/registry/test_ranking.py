"""Ranking: which bundle is best when neither pointer nor history tells, and why the others are left out."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from taskclf_dagster.domain.models.bundle import BundleMetrics, find_bundle_problem, parse_bundle
from taskclf_dagster.domain.models.bundle_files import METADATA, METRICS, MODEL
from taskclf_dagster.domain.registry.index_cache import IndexCache, read_index_cache, summarize, write_index_cache
from taskclf_dagster.domain.registry.ranking import (
    SelectionPolicy,
    find_best_loadable_model,
    find_best_model,
    find_latest_model,
    is_compatible,
    list_bundles,
    passes_constraints,
    score,
    should_switch_active,
)
from taskclf_dagster.errors import BundleError, BundleErrorCode
from taskclf_dagster.home import Home
from taskclf_dagster_tests.damaged_bundles import ONE_EACH
from taskclf_dagster_tests.models import (
    AT,
    change_a_leaf,
    contents,
    edit_json,
    point_at,
    write_history,
    write_policy,
    write_tiny_bundle,
)
from taskclf_dagster_tests.scenario import make_home

V3 = {"schema_version": "v3", "schema_hash": "7f29b4b8795e"}
V1_HASH = "4077fe0dba70"
V2 = {"schema_version": "v2", "schema_hash": "a15f4751a947"}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


def add(
    home: Home,
    name: str,
    macro_f1: float = 0.7,
    weighted_f1: float = 0.7,
    created_at: str = "2026-01-10T06:00:00+00:00",
    **metadata: object,
) -> Path:
    """A whole bundle in models/ with these stored scores."""
    return write_tiny_bundle(
        home.models / name,
        metadata={"created_at": created_at, **metadata},
        metrics={"macro_f1": macro_f1, "weighted_f1": weighted_f1},
    )


def ranking(home: Home) -> list[str]:
    return [bundle.model_id for bundle in find_best_model(home.models).ranked]


def exclusions(home: Home) -> dict[str, str]:
    return {record.model_id: record.reason for record in find_best_model(home.models).excluded}


def metrics(macro_f1: float) -> BundleMetrics:
    return BundleMetrics(macro_f1=macro_f1, weighted_f1=0.5, confusion_matrix=[], label_names=[])


# --- Ranking ----------------------------------------------------------------------------------------------------------------------


def test_bundles_are_ranked_by_macro_f1_first(home: Home) -> None:
    add(home, "a", 0.70, 0.90, "2026-01-12T00:00:00+00:00")
    add(home, "b", 0.72, 0.10, "2026-01-10T00:00:00+00:00")
    add(home, "c", 0.71, 0.95, "2026-01-11T00:00:00+00:00")
    assert ranking(home) == ["b", "c", "a"]
    assert find_best_model(home.models).best.model_id == "b"


def test_of_equal_macro_f1_the_higher_weighted_f1_is_first(home: Home) -> None:
    add(home, "a", 0.7, 0.6, "2026-01-12T00:00:00+00:00")
    add(home, "b", 0.7, 0.8, "2026-01-10T00:00:00+00:00")
    assert ranking(home) == ["b", "a"]


def test_of_equal_scores_the_newest_is_first_compared_as_times(home: Home) -> None:
    # As text the first is greater; as a time it is 15:00 UTC of the day before and so the older one.
    add(home, "a", created_at="2026-01-02T00:00:00+09:00")
    add(home, "b", created_at="2026-01-01T23:00:00+00:00")
    add(home, "c", created_at="2026-01-01T14:00:00Z")
    add(home, "d", created_at="2026-01-01T20:00:00")
    assert ranking(home) == ["b", "d", "a", "c"]


def test_the_newest_schema_version_comes_first_whatever_the_scores(home: Home) -> None:
    # Contract section 8: older versions only when no bundle of a newer one is eligible.
    add(home, "v1-good", 0.95)
    add(home, "v2-poor", 0.20, **V2)
    add(home, "v3-poor", 0.05, **V3)
    add(home, "v3-poorer", 0.04, **V3)
    assert ranking(home) == ["v3-poor", "v3-poorer", "v2-poor", "v1-good"]


@pytest.mark.parametrize("reason", ["synthetic", "damaged", "incompatible"])
def test_an_older_schema_version_serves_where_no_newer_bundle_is_eligible(home: Home, reason: str) -> None:
    add(home, "v1", 0.3)
    newer = add(home, "v3", 0.9, **V3)
    if reason == "damaged":
        (newer / METRICS).unlink()
    else:
        edit_json(newer / METADATA, {"data_provenance": "synthetic"} if reason == "synthetic" else {"schema_hash": "4077fe0dba70"})
    assert ranking(home) == ["v1"]


def test_a_score_is_schema_version_figures_and_time(home: Home) -> None:
    bundle = parse_bundle(add(home, "a", 0.7, 0.6, **V3))
    assert score(bundle) == (2, 0.7, 0.6, bundle.metadata.created_at)


def test_an_invalid_bundle_has_no_score(home: Home) -> None:
    (add(home, "a") / METRICS).unlink()
    with pytest.raises(BundleError, match=METRICS):
        score(parse_bundle(home.models / "a"))


def test_no_folder_and_an_empty_folder_have_no_best(home: Home) -> None:
    assert find_best_model(home.models).best is None
    home.models.mkdir()
    assert find_best_model(home.models).best is None
    assert find_best_loadable_model(home.models)[0] is None
    assert find_latest_model(home.models) is None


# --- What is left out -------------------------------------------------------------------------------------------------------------


def test_only_folders_that_are_not_hidden_are_bundles(home: Home) -> None:
    add(home, "b")
    add(home, "a")
    add(home, ".a.staging")
    point_at(home, "a")
    write_history(home, "a")
    write_policy(home, "a")
    assert [bundle.model_id for bundle in list_bundles(home.models)] == ["a", "b"]


@pytest.mark.parametrize("code", ONE_EACH)
def test_a_damaged_or_incompatible_bundle_is_left_out_with_its_reason_however_good_its_scores(home: Home, code: BundleErrorCode) -> None:
    add(home, "good", 0.5)
    ONE_EACH[code](add(home, "broken", 0.99))
    assert ranking(home) == ["good"]
    broken = parse_bundle(home.models / "broken")
    assert exclusions(home) == {"broken": find_bundle_problem(broken).reason}
    assert not is_compatible(broken)
    assert is_compatible(parse_bundle(home.models / "good"))


def test_a_synthetic_bundle_is_never_selected(home: Home) -> None:
    add(home, "synthetic", 0.99, data_provenance="synthetic")
    assert ranking(home) == []
    assert set(exclusions(home)) == {"synthetic"}
    add(home, "mixed", 0.4, data_provenance="mixed")
    add(home, "real", 0.5)
    assert ranking(home) == ["real", "mixed"]


def test_a_synthetic_bundle_is_eligible_only_where_the_policy_allows_it(home: Home) -> None:
    bundle = parse_bundle(add(home, "synthetic", data_provenance="synthetic"))
    assert passes_constraints(bundle, SelectionPolicy(allow_synthetic=True)) is None
    assert passes_constraints(bundle, SelectionPolicy()) is not None
    assert find_best_model(home.models, SelectionPolicy(allow_synthetic=True)).best.model_id == "synthetic"


def test_a_bundle_whose_model_is_not_the_one_its_metadata_names_is_left_out(home: Home) -> None:
    change_a_leaf(add(home, "changed", 0.99))
    add(home, "good", 0.5)
    assert ranking(home) == ["good"]
    assert MODEL in exclusions(home)["changed"]


def test_a_bundle_of_the_original_without_an_artifact_hash_is_eligible(home: Home) -> None:
    edit_json(add(home, "original") / METADATA, {}, without="artifact_hash")
    assert ranking(home) == ["original"]


def test_an_invalid_bundle_keeps_its_own_reason_as_constraint(home: Home) -> None:
    (add(home, "a") / MODEL).unlink()
    bundle = parse_bundle(home.models / "a")
    assert bundle.problem is not None
    assert passes_constraints(bundle, SelectionPolicy()) == bundle.problem.reason


def test_a_bundle_that_parses_but_does_not_load_is_passed_over(home: Home) -> None:
    for name, macro_f1 in [("first", 0.9), ("second", 0.8), ("third", 0.7)]:
        add(home, name, macro_f1)
    edit_json(home.models / "first" / "categorical_encoders.json", {}, without="app_id")
    assert ranking(home)[0] == "first"
    best, report = find_best_loadable_model(home.models)
    assert best.bundle.model_id == "second"
    assert [bundle.model_id for bundle in report.ranked] == ["second", "third"]
    assert {record.model_id: "app_id" in record.reason for record in report.excluded} == {"first": True}
    assert report.best == best.bundle


def test_where_no_bundle_loads_there_is_no_best_and_every_reason_is_told(home: Home) -> None:
    for name in ("a", "b"):
        edit_json(add(home, name) / "categorical_encoders.json", {}, without="app_id")
    add(home, "c", data_provenance="synthetic")
    best, report = find_best_loadable_model(home.models)
    assert (best, report.ranked) == (None, [])
    assert sorted(record.model_id for record in report.excluded) == ["a", "b", "c"]


def test_paths_of_exclusions_are_relative_to_the_home(home: Home) -> None:
    (add(home, "a") / MODEL).unlink()
    assert [record.path for record in find_best_model(home.models).excluded] == ["models/a"]


def test_selection_writes_nothing(home: Home) -> None:
    for code, damage in ONE_EACH.items():
        damage(add(home, code))
    add(home, "good")
    before = contents(home.root)
    find_best_loadable_model(home.models)
    find_latest_model(home.models)
    assert contents(home.root) == before


# --- Newest, switching ------------------------------------------------------------------------------------------------------------


def test_the_latest_model_is_found_by_time_and_not_by_text(home: Home) -> None:
    add(home, "a", 0.9, created_at="2026-01-02T00:00:00+09:00")  # 15:00 UTC of the day before
    add(home, "b", 0.1, created_at="2026-01-01T23:00:00+00:00")
    assert find_latest_model(home.models).model_id == "b"


def test_the_latest_model_is_a_compatible_one(home: Home) -> None:
    add(home, "old", created_at="2026-01-01T00:00:00+00:00")
    (add(home, "invalid", created_at="2026-01-03T00:00:00+00:00") / MODEL).unlink()
    add(home, "incompatible", created_at="2026-01-02T00:00:00+00:00", schema_hash="0" * 12)
    (home.models / "array").mkdir()
    (home.models / "array" / METADATA).write_text("[]", encoding="utf-8")
    assert find_latest_model(home.models).model_id == "old"


@pytest.mark.parametrize(
    ("active", "candidate", "min_improvement", "switch"),
    [
        (0.5, 0.75, 0.25, True),
        (0.5, 0.7499, 0.25, False),
        (0.5, 0.5, 0.0, True),
        (0.5, 0.4999, 0.0, False),
        (0.5, 0.5, 0.01, False),
        (None, 0.0, 0.5, True),
    ],
)
def test_another_bundle_is_preferred_from_the_border_of_improvement_on(
    active: float | None, candidate: float, min_improvement: float, switch: bool
) -> None:
    before = None if active is None else metrics(active)
    assert should_switch_active(before, metrics(candidate), min_improvement=min_improvement) is switch


# --- index.json -------------------------------------------------------------------------------------------------------------------


def test_the_index_has_the_keys_of_the_contract_and_relative_paths(home: Home) -> None:
    add(home, "best", 0.8, 0.75)
    add(home, "next", 0.7, 0.65, "2026-01-09T00:00:00+00:00")
    (add(home, "broken") / METRICS).unlink()
    write_index_cache(home, at=AT)
    assert json.loads(home.index.read_text(encoding="utf-8")) == {
        "generated_at": "2026-02-05T12:30:00Z",
        "schema_hash": "4077fe0dba70",
        "policy_version": 1,
        "ranked": [
            {
                "model_id": "best",
                "path": "models/best",
                "macro_f1": 0.8,
                "weighted_f1": 0.75,
                "created_at": "2026-01-10T06:00:00Z",
                "eligible": True,
            },
            {
                "model_id": "next",
                "path": "models/next",
                "macro_f1": 0.7,
                "weighted_f1": 0.65,
                "created_at": "2026-01-09T00:00:00Z",
                "eligible": True,
            },
        ],
        "excluded": [{"model_id": "broken", "path": "models/broken", "reason": "invalid: missing metrics.json"}],
        "best_model_id": "best",
    }


def test_the_index_is_read_back_as_it_was_written(home: Home) -> None:
    add(home, "best")
    assert read_index_cache(home) is None
    written = write_index_cache(home, at=AT)
    assert read_index_cache(home) == written
    assert written.ranked == [summarize(parse_bundle(home.models / "best"))]


def test_the_index_of_no_bundles_has_no_best(home: Home) -> None:
    written = write_index_cache(home, at=AT)
    assert (written.ranked, written.excluded, written.best_model_id, written.schema_hash) == ([], [], None, None)
    assert read_index_cache(home) == written


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"generated_at": "now"}'])
def test_a_damaged_index_is_none(home: Home, text: str) -> None:
    add(home, "best")
    write_index_cache(home, at=AT)
    home.index.write_text(text, encoding="utf-8")
    assert read_index_cache(home) is None


def test_selection_does_not_read_the_index(home: Home) -> None:
    add(home, "best", 0.8)
    add(home, "next", 0.7)
    write_index_cache(home, at=AT)
    edit_json(home.index, {"ranked": [], "best_model_id": "next"})
    assert find_best_model(home.models).best.model_id == "best"


def test_the_originals_bundles_are_ranked_as_in_its_own_index(real_homes: Path) -> None:
    home = Home(real_homes / "original-home")
    written = json.loads(home.index.read_text(encoding="utf-8"))
    assert ranking(home) == [entry["model_id"] for entry in written["ranked"]]
    assert find_best_model(home.models).best.model_id == written["best_model_id"]
    assert len(written["ranked"]) == 2


def test_the_originals_index_is_read(real_homes: Path) -> None:
    found = read_index_cache(Home(real_homes / "original-home"))
    assert isinstance(found, IndexCache)
    assert found.best_model_id == "2026-11-20_214705_run-9706"


# --- As taskclf has them ------------------------------------------------------------------------------------------------------------


def test_a_report_names_its_rules_and_the_schema_hash_that_it_was_asked_for_or_that_of_the_best(home: Home) -> None:
    add(home, "v1", 0.9)
    assert find_best_model(home.models).required_schema_hash == V1_HASH
    write_tiny_bundle(home.models / "v3", version="v3")
    policy = SelectionPolicy(min_improvement=0.1)
    report = find_best_model(home.models, policy)
    assert (report.best.model_id, report.required_schema_hash, report.policy) == ("v3", V3["schema_hash"], policy)
    asked = find_best_model(home.models, None, V1_HASH)
    assert ([bundle.model_id for bundle in asked.ranked], asked.required_schema_hash) == (["v1"], V1_HASH)
    assert [(record.model_id, record.reason) for record in asked.excluded] == [("v3", "incompatible: schema_hash mismatch")]
    none = find_best_model(home.models, required_schema_hash="0123456789ab")
    assert (none.best, len(none.excluded), none.required_schema_hash) == (None, 2, "0123456789ab")
    other = find_best_model(home.models, required_label_set=frozenset({"Build", "Debug"}))
    assert (other.best, {record.reason for record in other.excluded}) == (None, {"incompatible: label_set mismatch"})


def test_compatible_is_what_has_the_schema_and_the_labels_that_are_asked_for(home: Home) -> None:
    bundle = parse_bundle(add(home, "v1"))
    labels = bundle.require().label_set
    assert [is_compatible(bundle, *asked) for asked in ((), (V1_HASH,), (V1_HASH, frozenset(labels)), (None, labels[::-1]))] == [True] * 4
    assert [is_compatible(bundle, *asked) for asked in ((V3["schema_hash"],), (V1_HASH, labels[1:]), (None, [*labels, "x"]))] == [False] * 3
    fewer = parse_bundle(add(home, "fewer", label_set=labels[:2]))
    assert [is_compatible(fewer), is_compatible(fewer, None, labels[:2])] == [False, True]
    broken = parse_bundle(home.models / "nothing")
    assert [is_compatible(broken), is_compatible(broken, V1_HASH, labels)] == [False, False]


def test_a_bundle_says_if_it_is_valid_and_when_it_was_made(home: Home) -> None:
    bundle = parse_bundle(add(home, "v1", created_at="2026-01-10T06:00:00"))
    assert (bundle.valid, bundle.created_at) == (True, datetime(2026, 1, 10, 6, tzinfo=UTC))
    assert parse_bundle(add(home, "labels", label_set=["Build"])).valid
    (home.models / "v1" / MODEL).unlink()
    broken = parse_bundle(home.models / "v1")
    assert (broken.valid, broken.created_at) == (False, None)
