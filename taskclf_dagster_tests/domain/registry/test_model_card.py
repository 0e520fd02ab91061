"""The model card of a promoted bundle: its figures, what it must not say, and that a model runs whatever it says."""

import json
import re
import shutil
from pathlib import Path

import pytest

from taskclf_dagster.domain.decision.decision import PromotionDecision, seal
from taskclf_dagster.domain.decision.fair_scores import score_fairly
from taskclf_dagster.domain.models.bundle import load_bundle
from taskclf_dagster.domain.models.bundle_files import MANIFEST, MODEL_CARD, read_bundle_files
from taskclf_dagster.domain.models.manifest import find_card_problem, find_manifest_problem
from taskclf_dagster.domain.registry.fsck import check_registry
from taskclf_dagster.domain.registry.model_card import write_model_card
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.home import Home
from taskclf_dagster_tests.decision_scenario import SHIPPED, Candidate, receipt
from taskclf_dagster_tests.models import (
    AT,
    MID,
    NEW,
    OLD,
    a_decision,
    beside_champion,
    duel_rows,
    edit_json,
    named,
    some,
    with_changes,
    write_tiny_bundle,
)
from taskclf_dagster_tests.registry_scenario import promote, promoted
from taskclf_dagster_tests.scenario import make_home

TEST = {
    "windows": 3571,
    "macro_f1": 0.85817,
    "macro_f1_interval": [0.81, 0.9063],
    "confidence": 0.95,
    "user_days": 15,
    "weighted_f1": 0.8538,
    "accuracy": 0.8146,
    "f1": {"Meet": 0.8984},
}

SECTIONS = [
    "Model details",
    "Intended use",
    "Metrics on minutes that it has not learned from",
    "Compared with the model before it",
    "Data that it learned from and was judged on",
    "Limits and cautions",
    "How to verify",
]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


def card_of(home: Home, decision: PromotionDecision, **metadata: object) -> str:
    folder = write_tiny_bundle(home.challengers / NEW)
    edit_json(folder / "metrics.json", {"test": TEST})
    edit_json(folder / "metadata.json", metadata)
    return write_model_card(decision, load_bundle(folder))


def test_a_promoted_bundle_has_a_card_that_its_manifest_names(home: Home) -> None:
    promoted(home, OLD, NEW)
    for name in (OLD, NEW):
        files = read_bundle_files(home.models / name)
        assert files.content(MODEL_CARD).decode().startswith(f"# Model card: `{name}`\n")
        assert MODEL_CARD in json.loads(files.content(MANIFEST))["files"]
        assert find_card_problem(files) is None
    assert [finding for finding in check_registry(home) if finding.code == "model_card_differs"] == []


def test_the_card_has_the_sections_of_a_model_card_and_the_figures_of_the_bundle(home: Home) -> None:
    text = card_of(home, receipt(home), user_count=3)
    assert re.findall(r"^## (.+)$", text, flags=re.MULTILINE) == SECTIONS
    assert "3,571 test minutes of 15 user-days" in text
    assert "| macro-F1, the mean over labels | 0.8582 | 0.8100 to 0.9063 (95 %) |" in text
    assert "| F1 of Meet | 0.8984 | - |" in text
    assert "- People: 3 people\n" in text
    assert "License of the program: MIT" in text


def test_the_card_compares_with_the_model_before(home: Home) -> None:
    decision = receipt(home)
    comparison = decision.comparison
    assert comparison is not None
    assert comparison.evidence.interval is not None
    text = card_of(home, decision)
    low, high = comparison.evidence.interval
    assert f"95 % interval of the difference in macro-F1 is {low:+.4f} to {high:+.4f}" in text
    assert f"| macro-F1 | {comparison.champion_macro_f1:.4f} | {comparison.challenger_macro_f1:.4f} |" in text
    before, after = score_fairly(decision)
    assert before is not None
    assert f"| F1 of Meet | {before.f1['Meet']:.4f} | {after.f1['Meet']:.4f} |" in text


def test_the_card_of_a_first_model_says_that_there_was_none_before(home: Home) -> None:
    assert "There was none" in card_of(home, seal(with_changes(receipt(home), comparison=None)))


def test_the_card_names_no_person(home: Home) -> None:
    person = "xaver-with-a-name"
    rows = duel_rows({person: 5, "bob": 5})
    comparison = beside_champion(rows, named(rows), named(rows, wrong=some(rows, 0.1)))
    decision = receipt(home, Candidate(comparison=comparison, config=SHIPPED), reason=f"{person} got better", holdout_users=(person,))
    text = card_of(home, decision, holdout_users=[person], user_count=2)
    assert person not in text
    assert person[:8] not in text
    assert "For the 2 people judged" in text
    assert "of whom 1 were held out" in text


def test_the_card_of_a_model_for_one_person_speaks_of_one(home: Home) -> None:
    rows = duel_rows({"bob": 10})
    comparison = beside_champion(rows, named(rows), named(rows, wrong=some(rows, 0.1)))
    text = card_of(home, receipt(home, Candidate(comparison=comparison, config=SHIPPED)))
    assert "For the one person judged macro-F1 changes by " in text


def test_hostile_text_in_a_bundle_is_only_text(home: Home) -> None:
    evil = "<b>`x`</b> | [link](http://x)\n# heading\u202e"
    text = card_of(home, receipt(home), library_versions={evil: evil}, class_distribution={evil: {"Meet": evil}}, git_commit=evil)
    assert "<b>" not in text.replace("\\<b", "")
    assert "\n# heading" not in text
    assert "\u202e" not in text


def test_an_edited_card_is_a_warning_and_the_model_still_runs(home: Home) -> None:
    promoted(home, OLD, NEW)
    (home.models / NEW / MODEL_CARD).write_text("my notes", encoding="utf-8")
    files = read_bundle_files(home.models / NEW)
    assert find_manifest_problem(files) is None
    assert read_registry_state(home).model_problem(f"models/{NEW}") is None
    assert [(found.code, found.severity) for found in check_registry(home)] == [("model_card_differs", "warning")]


def test_a_bundle_of_an_earlier_version_has_no_card_and_is_whole(home: Home) -> None:
    promoted(home, OLD, NEW)
    for name in (OLD, NEW):
        (home.models / name / MODEL_CARD).unlink()
        manifest = home.models / name / MANIFEST
        document = json.loads(manifest.read_text(encoding="utf-8"))
        del document["files"][MODEL_CARD]
        manifest.write_text(json.dumps(document), encoding="utf-8")
    assert check_registry(home) == []
    promoted(home, MID)
    assert (home.models / MID / MODEL_CARD).is_file()


def test_a_file_of_that_name_in_models_is_not_overwritten(home: Home) -> None:
    built = write_tiny_bundle(home.challengers / NEW)
    shutil.move(built, home.models / NEW)
    (home.models / NEW / MODEL_CARD).write_text("of another program", encoding="utf-8")
    promote(home, a_decision(home), at=AT)
    assert (home.models / NEW / MODEL_CARD).read_text(encoding="utf-8") == "of another program"
    assert find_manifest_problem(read_bundle_files(home.models / NEW)) is None
