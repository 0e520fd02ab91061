"""The folder of decisions: how receipts are kept, listed and read, and when a decision is stale."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from taskclf_dagster.domain.data.label_store import present_watermark
from taskclf_dagster.domain.decision.decision_store import (
    ReceiptCache,
    find_later_decision,
    list_decisions,
    read_decision,
    save_decision,
    verify_stored,
)
from taskclf_dagster.domain.decision.gate import RegressionGate
from taskclf_dagster.domain.decision.verdict import REQUIRED_GATES
from taskclf_dagster.domain.decision.verification import verify_decision
from taskclf_dagster.domain.storage.records import canonical_json
from taskclf_dagster.errors import DecisionNotFoundError, ReceiptVersionError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.decision_scenario import ONLY, receipt
from taskclf_dagster_tests.models import (
    a_decision,
    all_gates,
    pointer_to,
)
from taskclf_dagster_tests.scenario import AS_OF, DAY, span, write_labels

# --- Files ------------------------------------------------------------------------------------------------------------------------


def test_a_kept_decision_is_read_back_and_verifies(home: Home) -> None:
    decision = receipt(home)
    path = save_decision(home, decision)
    assert path == home.root / "artifacts" / "decisions" / f"{decision.decision_id}.json"
    assert list_decisions(home) == ([decision], [])
    assert verify_decision(list_decisions(home)[0][0]) == []


@pytest.mark.parametrize("name", [None, *REQUIRED_GATES])
def test_a_kept_decision_is_byte_for_byte_the_one_that_was_made(home: Home, name: str | None) -> None:
    decision = receipt(home, None if name is None else ONLY[name]())
    save_decision(home, decision)
    again = read_decision(home, decision.decision_id)
    assert again is not None
    assert canonical_json(again.model_dump(mode="json")) == canonical_json(decision.model_dump(mode="json"))


def test_a_kept_decision_verifies_from_its_file_and_one_that_was_written_otherwise_does_not(home: Home) -> None:
    decision = receipt(home)
    path = save_decision(home, decision)
    assert verify_stored(home, decision.decision_id) == (decision, [])
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")), indent=2), encoding="utf-8")
    (finding,) = verify_stored(home, decision.decision_id)[1]
    assert (finding.kind, path.name in finding.detail) == ("file_differs", True)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"{"), lambda path: path.write_bytes(b"[]")])
def test_a_kept_decision_that_is_gone_or_damaged_is_none(home: Home, damage: Callable[[Path], object]) -> None:
    decision = receipt(home)
    damage(save_decision(home, decision))
    assert read_decision(home, decision.decision_id) is None
    with pytest.raises(DecisionNotFoundError):
        verify_stored(home, decision.decision_id)


@pytest.mark.parametrize("version", [None, 1, 3, "2"])
def test_a_receipt_of_another_version_is_reported_as_such_and_decides_nothing(home: Home, version: object) -> None:
    decision = a_decision(home, as_of=AS_OF + DAY, label_watermark=OTHER_LABELS)
    path = save_decision(home, decision)
    document = {**json.loads(path.read_text(encoding="utf-8")), "receipt_version": version}
    path.write_text(json.dumps({key: value for key, value in document.items() if value is not None}), encoding="utf-8")
    assert read_decision(home, decision.decision_id) is None
    with pytest.raises(ReceiptVersionError, match=r"before 0\.2\.0" if version is None else f"receipt_version {version!r}"):
        verify_stored(home, decision.decision_id)
    decisions, unreadable = list_decisions(home)
    assert (decisions, [(receipt.path, receipt.kind) for receipt in unreadable]) == ([], [(path, "other_version")])
    assert find_later_decision(home, a_decision(home)) is None


@pytest.mark.parametrize("name", ["../decision", "/etc/passwd", "a/b", "..", ""])
def test_a_decision_is_looked_for_in_its_own_folder_only(home: Home, name: str) -> None:
    path = save_decision(home, receipt(home))
    path.rename(home.decisions.parent / "decision.json")
    assert read_decision(home, name) is None


def test_decisions_are_listed_newest_first_and_damaged_files_apart(home: Home) -> None:
    dates = [AS_OF + timedelta(days=day) for day in (1, 3, 2)]
    for as_of in dates:
        save_decision(home, a_decision(home, as_of=as_of))
    for name, text in [("2026-02-09_000000_aaaaaaaa.json", "{"), ("2026-02-09_000000_bbbbbbbb.json", json.dumps(pointer_to("x")))]:
        (home.decisions / name).write_text(text, encoding="utf-8")
    (home.decisions / "last_decided.json").write_text("{}", encoding="utf-8")
    decisions, unreadable = list_decisions(home)
    assert [decision.as_of for decision in decisions] == sorted(dates, reverse=True)
    assert sorted((receipt.path.name, receipt.kind) for receipt in unreadable) == [
        ("2026-02-09_000000_aaaaaaaa.json", "damaged"),
        ("2026-02-09_000000_bbbbbbbb.json", "damaged"),
    ]


def test_a_receipt_that_was_read_is_read_again_only_after_its_file_changed(home: Home) -> None:
    decision = a_decision(home)
    path, receipts = save_decision(home, decision), ReceiptCache()
    first = receipts.load(home, decision.decision_id)
    assert first == decision
    assert list_decisions(home, receipts)[0][0] is first
    save_decision(home, decision)
    again = receipts.load(home, decision.decision_id)
    assert again == decision
    assert again is not first
    path.write_text("{}", encoding="utf-8")
    assert [receipt.kind for receipt in list_decisions(home, receipts)[1]] == ["damaged"]
    path.unlink()
    with pytest.raises(DecisionNotFoundError):
        receipts.load(home, decision.decision_id)


def test_a_home_without_decisions_lists_none(home: Home) -> None:
    assert list_decisions(home) == ([], [])


# --- Later decisions ----------------------------------------------------------------------------------------------------------------

OTHER_LABELS = "a" * 16


@pytest.mark.parametrize(
    ("later", "stale"),
    [
        ({"as_of": AS_OF + DAY, "label_watermark": OTHER_LABELS}, True),
        ({"as_of": AS_OF + timedelta(microseconds=1), "label_watermark": OTHER_LABELS}, True),
        ({"as_of": AS_OF + DAY}, False),  # the same labels once more
        ({"as_of": AS_OF + DAY, "label_watermark": OTHER_LABELS, "dry_run": True}, False),
        ({"as_of": AS_OF, "label_watermark": OTHER_LABELS}, False),
        ({"as_of": AS_OF - DAY, "label_watermark": OTHER_LABELS}, False),
    ],
    ids=["later", "a moment later", "same labels", "dry run", "same time", "earlier"],
)
def test_a_decision_is_stale_once_later_and_other_labels_were_decided_on(home: Home, later: dict[str, object], stale: bool) -> None:
    decision, other = a_decision(home), a_decision(home, **later)
    for each in (decision, other):
        save_decision(home, each)
    assert find_later_decision(home, decision) == (other if stale else None)


@pytest.mark.parametrize("gates", [all_gates(macro_f1="FAIL"), all_gates(macro_f1="ERROR")], ids=["REJECT", "HOLD"])
def test_a_later_decision_makes_stale_whatever_its_verdict(home: Home, gates: list[RegressionGate]) -> None:
    other = a_decision(home, gates=gates, as_of=AS_OF + DAY, label_watermark=OTHER_LABELS)
    save_decision(home, other)
    assert find_later_decision(home, a_decision(home)) == other


def test_a_dry_run_in_between_does_not_hide_a_later_decision(home: Home) -> None:
    for day, changes in enumerate([{}, {"dry_run": True}, {"label_watermark": "0" * 16}], start=1):
        save_decision(home, a_decision(home, **{"as_of": AS_OF + day * DAY, "label_watermark": OTHER_LABELS, **changes}))
    found = find_later_decision(home, a_decision(home))
    assert found is not None
    assert found.as_of == AS_OF + DAY


def test_a_decision_on_the_labels_as_they_are_now_is_not_stale_though_more_were_decided_on_before_some_were_deleted(home: Home) -> None:
    write_labels(home, [span(AS_OF - DAY, AS_OF - DAY + timedelta(minutes=5), "Build")])
    before = a_decision(home, as_of=AS_OF + DAY, label_watermark=OTHER_LABELS)
    now = a_decision(home, label_watermark=present_watermark(home))
    for each in (before, now):
        save_decision(home, each)
    assert find_later_decision(home, now) is None
    assert find_later_decision(home, before) == now


@pytest.mark.parametrize("damage", [lambda home: home.labels.write_bytes(b"torn"), lambda home: home.labels.unlink()])
def test_where_the_store_is_neither_the_newer_labels_make_stale(home: Home, damage: Callable[[Home], object]) -> None:
    write_labels(home, [span(AS_OF - DAY, AS_OF - DAY + timedelta(minutes=5), "Build")])
    decision = a_decision(home, label_watermark=present_watermark(home))
    other = a_decision(home, as_of=AS_OF + DAY, label_watermark=OTHER_LABELS)
    for each in (decision, other):
        save_decision(home, each)
    damage(home)
    assert find_later_decision(home, decision) == other


def test_a_damaged_decision_makes_nothing_stale(home: Home) -> None:
    save_decision(home, a_decision(home, as_of=AS_OF + DAY, label_watermark=OTHER_LABELS)).write_bytes(b"{")
    assert find_later_decision(home, a_decision(home)) is None
