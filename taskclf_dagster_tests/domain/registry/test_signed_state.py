"""Signed promotions: with a public key nothing is promoted or followed that nobody signed, for this home."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from taskclf_dagster.domain.decision.decision import PromotionDecision, seal, sign_decision
from taskclf_dagster.domain.decision.decision_store import save_decision
from taskclf_dagster.domain.decision.verification import verify_decision
from taskclf_dagster.domain.registry.champion import resolve_active_model
from taskclf_dagster.domain.registry.fsck import check_registry
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.domain.registry.recovery import repair
from taskclf_dagster.domain.registry.retention import prune
from taskclf_dagster.domain.registry.rollback import rollback, unblock
from taskclf_dagster.domain.registry.signed_state import find_unsigned
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.storage.signatures import Keys
from taskclf_dagster.errors import ReceiptNotTrustedError, RegistryNotSignedError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import AT, MID, NEW, OLD, contents, edit_json
from taskclf_dagster_tests.registry_scenario import NEXT, promote, promoted, set_active
from taskclf_dagster_tests.scenario import DAY, make_home
from taskclf_dagster_tests.signing import EARLIER, KEYS, OWNER, STRANGER, keys_of, signed, signed_home

LATER = AT + 10 * DAY
OURS = {"home_id_differs", "receipt_not_signed", "record_not_signed", "state_not_signed"}


def codes(home: Home, keys: Keys = KEYS) -> set[tuple[str, str]]:
    """Code and severity of what fsck finds about ids and signatures."""
    return {(finding.code, finding.severity) for finding in check_registry(home, keys) if finding.code in OURS}


def unsigned_kind(home: Home, keys: Keys = KEYS) -> str | None:
    found = find_unsigned(read_registry_state(home, keys))
    return None if found is None else found.kind


def champion_of(home: Home, keys: Keys = KEYS) -> str | None:
    model_dir = resolve_active_model(read_registry_state(home, keys)).model_dir
    return None if model_dir is None else Path(model_dir).name


def edit_policy(home: Home) -> None:
    edit_json(home.inference_policy, {"reject_threshold": 0.11, "created_at": LATER.isoformat()})


def drop_line(home: Home, number: int) -> None:
    lines = home.active_history.read_bytes().splitlines(keepends=True)
    home.active_history.write_bytes(b"".join(lines[: number - 1] + lines[number:]))


def test_what_was_signed_is_promoted_followed_and_leaves_nothing_to_find(tmp_path: Path) -> None:
    home = signed_home(make_home(tmp_path), OLD, MID)
    assert all(entry.signature is not None and entry.home_id is not None for entry in read_history(home).entries)
    assert (unsigned_kind(home), champion_of(home), codes(home)) == (None, MID, set())
    rollback(home, to=None, reason="worse", at=LATER, keys=KEYS)
    unblock(home, MID, reason="better", at=LATER, keys=KEYS)
    prune(home, keep_versions=1, keep_rejected=0, at=LATER + 90 * DAY, keys=KEYS)
    assert [entry.action for entry in read_history(home, KEYS).trusted] == [entry.action for entry in read_history(home).entries]
    assert (champion_of(home), codes(home)) == (OLD, set())
    assert [finding for finding in check_registry(home) if finding.severity == "damage"] == []  # a signed home needs no key to be read


FORGERIES: dict[str, Callable[[Home, PromotionDecision], PromotionDecision]] = {
    "unsigned": lambda home, decision: seal(decision.model_copy(update={"reason": "It is better.", "signature": None})),
    "altered": lambda home, decision: seal(decision.model_copy(update={"reason": "It is better."})),
    "another_key": lambda home, decision: sign_decision(seal(decision.model_copy(update={"reason": "It is better."})), keys_of(STRANGER)),
    "another_home": lambda home, decision: sign_decision(seal(decision.model_copy(update={"home_id": "0" * 32})), KEYS),
}


@pytest.mark.parametrize("kind", FORGERIES)
def test_a_forged_receipt_that_verifies_is_refused(tmp_path: Path, kind: str) -> None:
    home = signed_home(make_home(tmp_path), OLD)
    original = signed(home, NEW)
    (home.decisions / f"{original.decision_id}.json").unlink()
    forged = FORGERIES[kind](home, original)
    save_decision(home, forged)
    assert verify_decision(forged) == []
    before = contents(home.models)
    with pytest.raises(ReceiptNotTrustedError) as refused:
        promote(home, forged, at=LATER, keys=KEYS)
    assert (refused.value.kind, contents(home.models)) == (kind, before)
    assert codes(home) == {
        "unsigned": {("receipt_not_signed", "warning")},
        "another_home": {("receipt_not_signed", "damage"), ("home_id_differs", "warning")},
    }.get(kind, {("receipt_not_signed", "damage")})


def test_a_record_that_somebody_else_made_is_not_followed_until_a_person_decides(tmp_path: Path) -> None:
    home = signed_home(make_home(tmp_path), OLD, MID)
    waiting = signed(home, NEXT)
    promote(home, signed(home, NEW), at=AT + 2 * DAY)  # as whoever can write to the home could do, without the key
    assert (unsigned_kind(home), champion_of(home)) == ("record", MID)
    assert ("state_not_signed", "damage") in codes(home)
    before = contents(home.models)
    attempts: dict[str, Callable[[], object]] = {
        "promote": lambda: promote(home, waiting, at=LATER, keys=KEYS),
        "unblock": lambda: unblock(home, OLD, reason="better", at=LATER, keys=KEYS),
        "prune": lambda: prune(home, keep_versions=1, keep_rejected=0, at=LATER, keys=KEYS),
    }
    for attempt in attempts.values():
        with pytest.raises(RegistryNotSignedError) as refused:
            attempt()
        assert (refused.value.part, contents(home.models)) == ("record", before)
    assert rollback(home, to=None, reason="nobody signed it", at=LATER, keys=KEYS).name == MID
    assert (unsigned_kind(home), champion_of(home)) == (None, MID)
    assert codes(home) == {("record_not_signed", "warning")}


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("pointer", lambda home: set_active(home, OLD)),
        ("policy", edit_policy),
        ("policy", lambda home: home.inference_policy.unlink()),
        ("damage", lambda home: drop_line(home, 2)),
    ],
    ids=["a pointer", "a policy", "a removed policy", "a record taken out"],
)
def test_a_change_that_is_not_signed_counts_after_a_repair_only(tmp_path: Path, kind: str, change: Callable[[Home], None]) -> None:
    home = signed_home(make_home(tmp_path), OLD, MID, NEW)
    receipt = signed(home, NEXT)
    change(home)
    assert (unsigned_kind(home), champion_of(home)) == (kind, NEW)
    with pytest.raises(RegistryNotSignedError) as refused:
        promote(home, receipt, at=LATER, keys=KEYS)
    assert refused.value.part == kind
    repair(home, at=LATER, keys=KEYS)
    pointer = read_active(home)
    assert pointer is not None
    assert (unsigned_kind(home), pointer.name) == (None, OLD if kind == "pointer" else NEW)
    assert champion_of(home) == NEW  # taskclf reads the policy before the pointer
    assert read_history(home, KEYS).last_move == read_history(home).last_move


def test_a_home_from_before_signatures_is_accepted_once_and_what_was_blocked_stays_blocked(tmp_path: Path) -> None:
    home = promoted(make_home(tmp_path), OLD, MID, NEW)
    rollback(home, to=None, reason="worse", at=LATER)
    assert (unsigned_kind(home), champion_of(home)) == ("record", MID)  # the folder of the model that it cannot vouch for
    assert resolve_active_model(read_registry_state(home, KEYS)).state == "unreadable"
    repair(home, at=LATER, keys=KEYS)
    assert (unsigned_kind(home), champion_of(home)) == (None, MID)
    assert set(read_history(home, KEYS).blocked) == {NEW}
    assert ("state_not_signed", "damage") not in codes(home)


def test_an_earlier_key_counts_as_long_as_it_is_listed(tmp_path: Path) -> None:
    home = signed_home(make_home(tmp_path), OLD, MID, keys=keys_of(EARLIER))
    both = keys_of(OWNER, trusted=(OWNER, EARLIER))
    assert (unsigned_kind(home, both), codes(home, both)) == (None, set())
    promote(home, signed(home, NEW, both), at=LATER, keys=both)
    assert (champion_of(home, both), codes(home, both)) == (NEW, set())
    assert ("receipt_not_signed", "damage") in codes(home)  # those of the earlier key, which is no longer listed
    assert unsigned_kind(home) is None  # the newest record is of the present key


def test_without_a_private_key_the_home_is_checked_and_not_changed(tmp_path: Path) -> None:
    home = signed_home(make_home(tmp_path), OLD)
    reader, receipt = Keys(KEYS.trusted), signed(home, NEW)
    before = contents(home.models)
    with pytest.raises(RegistryNotSignedError) as refused:
        promote(home, receipt, at=LATER, keys=reader)
    assert (refused.value.part, contents(home.models), codes(home, reader)) == ("no_private_key", before, set())


def test_a_receipt_belongs_to_its_home_also_without_keys(tmp_path: Path) -> None:
    first = promoted(make_home(tmp_path / "first"), OLD)
    receipt = signed(first, NEW, Keys())
    moved = Home(tmp_path / "moved")
    shutil.copytree(first.root, moved.root)  # a copy keeps its id
    other = Home(tmp_path / "other")
    shutil.copytree(first.root, other.root)
    other.home_id_file.write_text(json.dumps({"home_id": "1" * 32}), encoding="utf-8")
    with pytest.raises(ReceiptNotTrustedError) as refused:
        promote(other, receipt, at=LATER)
    assert refused.value.kind == "another_home"
    assert codes(other, Keys()) == {("home_id_differs", "warning")}
    assert promote(moved, receipt, at=LATER).pointer.name == NEW
    assert codes(moved, Keys()) == set()


def test_a_damaged_home_id_is_kept_aside_by_a_repair(tmp_path: Path) -> None:
    home = signed_home(make_home(tmp_path), OLD)
    home.home_id_file.write_text('{"home_id": ["../x"]}', encoding="utf-8")
    assert unsigned_kind(home) == "record"
    repair(home, at=LATER, keys=KEYS)
    assert (unsigned_kind(home), champion_of(home)) == (None, OLD)
    assert home.home_id_file.with_suffix(".damaged").is_file()
