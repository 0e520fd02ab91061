"""The history of the pointer: numbered, checksummed and chained; what is damaged is seen, noted once, and never costs more than itself."""

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.domain.registry.champion import resolve_active_model
from taskclf_dagster.domain.registry.fsck import check_registry
from taskclf_dagster.domain.registry.history import append_active_history, cut_history, is_whole_line, read_history
from taskclf_dagster.domain.registry.history_record import ActiveHistoryEntry
from taskclf_dagster.domain.registry.pointer import ActivePointer, read_active
from taskclf_dagster.domain.registry.recovery import repair
from taskclf_dagster.domain.registry.retention import prune
from taskclf_dagster.domain.registry.rollback import rollback
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.storage.filesystem import use_file_system
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import AT, MID, NEW, OLD, contents, home_with_champion, pointer_to
from taskclf_dagster_tests.registry_scenario import (
    NEXT,
    Recording,
    actions,
    damage,
    history_lines,
    judged,
    promote,
    promoted,
    rewrite_line,
    set_active,
    settled,
)
from taskclf_dagster_tests.scenario import DAY, make_home

LATER = AT + 9 * DAY
GARBAGE = {
    "words": b"not json",
    "an empty object": b"{}",
    "an array": b"[]",
    "null": b"null",
    "without new": b'{"at":"2026-01-01T00:00:00Z","old":null}',
    "an empty line": b"",
    "no utf-8": b"\xe9 \xc3\xbcml\xc3\xa4ut",
    "zeros": b"\0" * 300,
    "nested too deep": b"[" * 100_000,
    "with an unknown action": json.dumps(
        {"at": "2026-01-01T00:00:00Z", "old": None, "new": None, "action": "sing", "sequence": 9}
    ).encode(),
    "numbered, with a figure that is not a number": b'{"at":"2026-01-01T00:00:00Z","old":null,"new":null,"sequence":4,"x":NaN}',
    "numbered, without checksum": b'{"at":"2026-01-01T00:00:00Z","old":null,"new":null,"sequence":4}',
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


@pytest.fixture
def three(home: Home) -> Home:
    """OLD, MID and NEW were promoted in this order: three records of ours and nothing else."""
    return promoted(home, OLD, MID, NEW)


def pointer(name: str = "x", **reason: object) -> ActivePointer:
    return ActivePointer(model_dir=f"models/{name}", selected_at=AT, policy_version=1, reason=reason or None)


def entry(name: str = "x", **changes: object) -> ActiveHistoryEntry:
    return ActiveHistoryEntry(at=AT, old=None, new=pointer(name), **{"action": "promote", **changes})


def foreign_line(model_id: str) -> bytes:
    return json.dumps({"at": "2026-02-20T00:00:00+00:00", "old": None, "new": pointer_to(model_id)}).encode()


# --- Appending and reading ----------------------------------------------------------------------------------------------------------


def test_a_home_without_a_history_has_no_entries(home: Home) -> None:
    history = read_history(home)
    assert (history.entries, history.problems, history.sequence, history.size, history.torn) == ([], {}, 0, 0, b"")
    assert history.digest == hashlib.sha256(b"").hexdigest()
    assert history.last_move is None


def test_an_empty_history_is_one_without_entries(home: Home) -> None:
    home.models.mkdir()
    home.active_history.write_bytes(b"")
    assert (read_history(home).entries, read_history(home).problems) == ([], {})


def test_lines_of_taskclf_are_read_oldest_first_and_are_no_damage(home: Home) -> None:
    history = read_history(home_with_champion(home))
    assert [(each.new.model_id, each.foreign) for each in history.entries] == [(OLD, True), (MID, True)]
    assert history.entries[1].old == history.entries[0].new
    assert (history.problems, history.sequence, history.lines) == ({}, 0, 2)


def test_an_appended_entry_is_read_back_with_number_chain_and_checksum(home: Home) -> None:
    home_with_champion(home)
    before = home.active_history.read_bytes()
    written = append_active_history(home, entry(reason="two\nlines", decision_id="d", run_id="r")).entries[-1]
    history = read_history(home)
    assert history.entries[-1] == written
    assert (written.sequence, written.previous_hash) == (1, hashlib.sha256(before).hexdigest())
    assert history.problems == {}
    assert home.active_history.read_bytes().startswith(before)


def test_an_appended_line_is_durable_and_so_is_the_name_of_a_new_file(home: Home) -> None:
    home.models.mkdir()
    first, second = Recording(), Recording()
    with use_file_system(first):
        append_active_history(home, entry())
    with use_file_system(second):
        append_active_history(home, entry())
    name = "active_history.jsonl"
    assert first.calls == [("append", name), ("sync_file", name), ("sync_folder", "models")]
    assert second.calls == [("append", name), ("sync_file", name)]


def test_keys_that_say_nothing_are_left_out_of_a_line(home: Home) -> None:
    append_active_history(home, entry())
    (line,) = history_lines(home)
    assert set(line) == {"at", "old", "new", "sequence", "action", "previous_hash", "checksum"}


@pytest.mark.parametrize("note", ["one\u2028two\x85three", "tab\tnewline\n", "ümläut", "\x00", '"', "😀"])
def test_a_note_of_any_characters_does_not_tear_its_line(home: Home, note: str) -> None:
    for _ in range(2):
        append_active_history(home, ActiveHistoryEntry(at=AT, old=None, new=pointer(note=note), action="promote", reason=note))
    history = read_history(home)
    assert ([each.new.reason["note"] for each in history.entries], history.problems) == ([note, note], {})


def test_keys_that_another_program_writes_are_kept_in_old_and_new(home: Home) -> None:
    home_with_champion(home)
    set_active(home, OLD, colour="blue")
    assert read_history(home).entries[-1].new.model_extra == {"colour": "blue"}


def test_an_aborted_change_is_no_move_and_its_block_does_not_count(home: Home) -> None:
    append_active_history(home, entry("a"))
    append_active_history(home, entry("b", action="rollback", blocks={"model_id": "a", "tree_hash": "t"}))
    assert set(read_history(home).blocked) == {"a"}
    append_active_history(home, ActiveHistoryEntry(at=AT, old=pointer("a"), new=pointer("a"), action="abort", subject=["2"]))
    history = read_history(home)
    assert [each.new.name for each in history.moves] == ["a"]
    assert history.blocked == {}
    assert history.sequence == 3


def test_only_promotions_rollbacks_repairs_adoptions_and_foreign_lines_are_moves(home: Home) -> None:
    for action in ("promote", "rollback", "repair", "adopt", "abort", "acknowledge", "unblock", "prune"):
        append_active_history(home, entry(action, action=action))
    with home.active_history.open("ab") as file:
        file.write(foreign_line("foreign") + b"\n" + b'{"at":"2026-02-20T00:00:00+00:00","old":null,"new":null}\n')
    history = read_history(home)
    assert [each.new.name for each in history.moves] == ["promote", "rollback", "repair", "adopt", "foreign"]
    assert history.problems == {}
    assert history.last_move.new.name == "foreign"


def test_a_block_ends_with_its_unblock_and_can_come_again(home: Home) -> None:
    def blocked() -> set[str]:
        return set(read_history(home).blocked)

    rolled_back = entry("b", action="rollback", blocks={"model_id": "a", "tree_hash": "t"})
    append_active_history(home, rolled_back)
    assert blocked() == {"a"}
    append_active_history(home, entry("b", action="unblock", subject=["a"]))
    assert blocked() == set()
    append_active_history(home, rolled_back)
    assert blocked() == {"a"}


def test_a_block_of_a_model_whose_trees_are_not_known_is_read_back(home: Home) -> None:
    append_active_history(home, entry("b", action="rollback", blocks={"model_id": "a", "tree_hash": None}))
    assert read_history(home).problems == {}
    assert set(read_history(home).blocked) == {"a"}


def test_pruned_models_are_remembered(home: Home) -> None:
    append_active_history(home, entry(action="prune", subject=["a", "b"]))
    assert read_history(home).pruned == {"a", "b"}


def test_what_was_appended_last_can_be_taken_back(home: Home) -> None:
    append_active_history(home, entry("a"))
    history, before = read_history(home), home.active_history.read_bytes()
    append_active_history(home, entry("b"), history)
    cut_history(home, history.size)
    assert home.active_history.read_bytes() == before


# --- Damage that is seen --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [2, 30, 200])
def test_a_torn_last_line_costs_only_itself(three: Home, cut: int) -> None:
    three.active_history.write_bytes(three.active_history.read_bytes()[:-cut])
    history = read_history(three)
    assert [each.new.name for each in history.entries] == [OLD, MID]
    assert (history.problems, history.lines) == ({}, 2)
    assert history.torn
    assert history.size + len(history.torn) == three.active_history.stat().st_size
    assert not is_whole_line(history.torn)


def test_a_last_line_that_lacks_only_its_newline_counts(three: Home) -> None:
    three.active_history.write_bytes(three.active_history.read_bytes()[:-1])
    history = read_history(three)
    assert [each.new.name for each in history.entries] == [OLD, MID, NEW]
    assert is_whole_line(history.torn)


@pytest.mark.parametrize("line", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_between_lines_is_a_problem_of_its_own_line_and_of_the_chain_behind_it(three: Home, line: bytes) -> None:
    first, *others = three.active_history.read_bytes().splitlines(keepends=True)
    three.active_history.write_bytes(first + line + b"\n" + b"".join(others))
    history = read_history(three)
    assert [each.new.name for each in history.entries] == [OLD, MID, NEW]
    assert set(history.problems) == {2, 3, 4}


@pytest.mark.parametrize("position", range(0, 900, 37))
def test_a_changed_byte_of_an_earlier_line_is_seen(three: Home, position: int) -> None:
    before = read_history(three)
    assert before.problems == {}

    def flip(line: bytes) -> bytes:
        at = position % len(line)
        return line[:at] + bytes([line[at] ^ 1]) + line[at + 1 :]

    rewrite_line(three, 1, flip)
    problems = read_history(three).problems
    assert min(problems) in (1, 2)
    assert "P3" in {promise for promise, _ in damage(three)}


@pytest.mark.parametrize("number", [1, 2])
def test_a_removed_line_breaks_the_chain(three: Home, number: int) -> None:
    lines = three.active_history.read_bytes().splitlines(keepends=True)
    del lines[number - 1]
    three.active_history.write_bytes(b"".join(lines))
    assert number in read_history(three).problems


def test_two_lines_that_changed_places_break_the_chain(three: Home) -> None:
    first, second, third = three.active_history.read_bytes().splitlines(keepends=True)
    three.active_history.write_bytes(second + first + third)
    assert set(read_history(three).problems) == {1, 2, 3}


def test_a_line_that_comes_twice_breaks_the_chain(three: Home) -> None:
    lines = three.active_history.read_bytes().splitlines(keepends=True)
    three.active_history.write_bytes(b"".join([*lines, lines[-1]]))
    assert set(read_history(three).problems) == {4}


def test_a_changed_foreign_line_breaks_the_chain_behind_it(home: Home) -> None:
    settled(home)
    rewrite_line(home, 1, lambda line: line.replace(b"0.7324", b"0.9999"))
    assert set(read_history(home).problems) == {3}


def test_a_gap_in_the_numbers_is_seen_even_where_the_chain_holds(three: Home) -> None:
    append_active_history(three, entry(NEXT, sequence=6))
    history = read_history(three)
    assert set(history.problems) == {4}
    assert (history.sequence, len(history.entries)) == (6, 4)


@pytest.mark.parametrize("number", [0, -1, 3])
def test_a_number_that_came_before_is_seen(three: Home, number: int) -> None:
    append_active_history(three, entry(NEXT, sequence=number))
    assert set(read_history(three).problems) == {4}
    assert read_history(three).sequence == 3


def test_a_wrong_checksum_takes_the_record_out_of_the_entries(three: Home) -> None:
    rewrite_line(three, 2, lambda line: line.replace(b'"reason":"All', b'"reason":"Not all'))
    history = read_history(three)
    assert 2 in history.problems
    assert [each.new.name for each in history.entries] == [OLD, NEW]


def test_a_checksum_made_anew_after_a_change_does_not_hide_it(three: Home) -> None:
    def forge(line: bytes) -> bytes:
        document = json.loads(line)
        document["reason"] = "forged"
        document.pop("checksum")
        canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return json.dumps({**document, "checksum": hashlib.sha256(canonical.encode()).hexdigest()}).encode()

    rewrite_line(three, 1, forge)
    assert set(read_history(three).problems) == {2, 3}  # each hash covers all bytes before it


def test_the_wording_of_problems_and_of_what_a_repair_does(three: Home, snapshot: SnapshotAssertion) -> None:
    whole, said = three.active_history.read_bytes(), {}
    harms: dict[str, Callable[[Home], object]] = {
        "a gap": lambda home: append_active_history(home, entry(NEXT, sequence=6)),
        "a number that came before": lambda home: append_active_history(home, entry(NEXT, sequence=3)),
        "a changed line": lambda home: rewrite_line(home, 2, lambda line: line.replace(b"All", b"Alt")),
        "a removed line": lambda home: home.active_history.write_bytes(whole.split(b"\n", 1)[1]),
        "garbage": lambda home: _append(home, b"garbage\n"),
    }
    for name, harm in harms.items():
        harm(three)
        said[name] = list(read_history(three).problems.values())
        three.active_history.write_bytes(whole)
    harms["garbage"](three)
    _append(three, b'{"at":')
    assert said == snapshot(name="problems")
    assert [step.detail for step in repair(three, at=LATER).done] == snapshot(name="noted")
    _cut_back(three, 1)
    assert [step.detail for step in repair(three, at=LATER).done] == snapshot(name="lost")


def test_foreign_lines_are_no_damage_and_the_next_own_record_covers_them(three: Home) -> None:
    set_active(three, MID, at=LATER)
    assert damage(three) == []
    repair(three, at=LATER)
    assert [action for _, action, _ in actions(three)] == ["promote", "promote", "promote", None, "adopt"]
    assert damage(three) == []
    rewrite_line(three, 4, lambda line: line.replace(b"models/", b"models//"))
    assert set(read_history(three).problems) == {5}


def test_a_resolved_champion_warns_of_damage_that_nobody_noted(three: Home) -> None:
    rewrite_line(three, 1, lambda line: b"garbage")
    three.inference_policy.unlink()
    three.active_pointer.unlink()
    found = resolve_active_model(read_registry_state(three))
    assert found.model_dir == f"models/{NEW}"
    assert any("line 1:" in warning for warning in found.warnings)


# --- Damage that is mended or noted ---------------------------------------------------------------------------------------------------


def _cut_back(home: Home, lines: int) -> None:
    home.active_history.write_bytes(b"".join(home.active_history.read_bytes().splitlines(keepends=True)[:lines]))


def _append(home: Home, content: bytes) -> None:
    with home.active_history.open("ab") as file:
        file.write(content)


def _glue(home: Home) -> None:
    """An incomplete line, and behind it what taskclf wrote when it pointed to MID."""
    _append(home, b'{"at":"2026-02-08T00:00:00+00:00","old":nu')
    set_active(home, MID, at=LATER)


DAMAGES: dict[str, tuple[Callable[[Home], object], str]] = {
    "the last line torn": (lambda home: home.active_history.write_bytes(home.active_history.read_bytes()[:-100]), NEW),
    "a line torn behind the last": (lambda home: _append(home, b'{"at":"2026-02-08T00:00:00+00:00","old":nu'), NEW),
    "only the last newline gone": (lambda home: home.active_history.write_bytes(home.active_history.read_bytes()[:-1]), NEW),
    "a torn line with a foreign line glued behind it": (_glue, MID),
    "the last record gone": (lambda home: _cut_back(home, 2), NEW),
    "the last two records gone": (lambda home: _cut_back(home, 1), NEW),
    "all records gone": (lambda home: _cut_back(home, 0), NEW),
    "the file gone": (lambda home: home.active_history.unlink(), NEW),
    "a byte changed in the first line": (lambda home: rewrite_line(home, 1, lambda line: line.replace(b"All", b"Alt")), NEW),
    "a byte changed in the last line": (lambda home: rewrite_line(home, 3, lambda line: line.replace(b"All", b"Alt")), NEW),
    "the first line removed": (lambda home: home.active_history.write_bytes(home.active_history.read_bytes().split(b"\n", 1)[1]), NEW),
    "a gap": (lambda home: append_active_history(home, entry(NEXT, sequence=7, action="unblock")), NEW),
    "garbage before the first line": (lambda home: home.active_history.write_bytes(b"#\n" + home.active_history.read_bytes()), NEW),
    "garbage behind the last line": (lambda home: _append(home, b"\x00\xff\n\n{}\n"), NEW),
    "nothing but garbage": (lambda home: home.active_history.write_bytes(b"\x00\xff\n\n{}\n"), NEW),
    "a figure that is not a number": (lambda home: _append(home, GARBAGE["numbered, with a figure that is not a number"] + b"\n"), NEW),
}


@pytest.mark.parametrize(("harm", "runs"), DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_is_told_then_mended_or_noted_and_no_damage_any_more(three: Home, harm: Callable[[Home], object], runs: str) -> None:
    harm(three)
    assert "P3" in {finding.promise for finding in check_registry(three)}
    recovery = repair(three, at=LATER)
    assert damage(three) == []
    assert recovery.history.open_problems == {}
    assert read_active(three).name == runs
    assert read_history(three).last_move.new == read_active(three)
    noted = [finding.detail for finding in check_registry(three) if finding.code == "history_damage_acknowledged"]
    for problem in read_history(three).problems:
        assert any(f"line {problem}:" in detail for detail in noted)


@pytest.mark.parametrize(("harm", "runs"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_second_repair_finds_nothing_to_do(three: Home, harm: Callable[[Home], object], runs: str) -> None:
    harm(three)
    repair(three, at=LATER)
    before = contents(three.root)
    assert repair(three, at=LATER + DAY).done == []
    assert contents(three.root) == before
    assert read_active(three).name == runs


@pytest.mark.parametrize("harm", [harm for harm, _ in DAMAGES.values()], ids=DAMAGES.keys())
def test_a_damaged_history_stops_no_promotion_and_the_numbers_go_on(three: Home, harm: Callable[[Home], object]) -> None:
    harm(three)
    repair(three, at=LATER)
    sequence = max(read_history(three).sequence, read_active(three).sequence or 0)
    promote(three, judged(three, NEXT), at=LATER)
    assert read_active(three).sequence == sequence + 1
    assert read_history(three).last_move.new == read_active(three)
    assert damage(three) == []


@pytest.mark.parametrize("harm", [harm for harm, _ in DAMAGES.values()], ids=DAMAGES.keys())
def test_damage_after_a_repair_is_damage_again(three: Home, harm: Callable[[Home], object]) -> None:
    harm(three)
    repair(three, at=LATER)
    promote(three, judged(three, NEXT), at=LATER)
    assert damage(three) == []
    _append(three, b"garbage\n")
    number = read_history(three).lines
    found = [(finding.code, f"line {number}:" in finding.detail) for finding in check_registry(three) if finding.severity == "damage"]
    assert found == [("history_line_damaged", True)]


def test_only_a_repair_notes_the_damage_which_other_changes_leave_as_it_is(three: Home) -> None:
    rewrite_line(three, 1, lambda line: b"garbage")
    rollback(three, to=None, reason="worse", at=LATER)
    prune(three, keep_versions=5, keep_rejected=5, at=LATER)
    assert [action for _, action, _ in actions(three)] == ["promote", "promote", "rollback"]
    assert damage(three) != []
    repair(three, at=LATER)
    assert [action for _, action, _ in actions(three)] == ["promote", "promote", "rollback", "acknowledge"]
    assert history_lines_behind(three, 1)[-1]["acknowledges"] == [1, 2, 3]
    assert damage(three) == []


def history_lines_behind(home: Home, number: int) -> list[dict[str, object]]:
    """The lines behind one that cannot be read."""
    return [json.loads(line) for line in home.active_history.read_bytes().splitlines()[number:]]


def test_a_torn_line_is_removed_and_a_whole_one_completed(three: Home) -> None:
    whole = three.active_history.read_bytes()
    three.active_history.write_bytes(whole + b'{"at":')
    assert [step.kind for step in repair(three, at=LATER).done] == ["history_cut"]
    assert three.active_history.read_bytes() == whole
    three.active_history.write_bytes(whole[:-1])
    repair(three, at=LATER)
    assert three.active_history.read_bytes() == whole


def test_a_foreign_line_that_lacks_only_its_newline_is_completed(three: Home) -> None:
    set_active(three, MID, at=LATER)
    three.active_history.write_bytes(three.active_history.read_bytes()[:-1])
    before = three.active_history.read_bytes()
    repair(three, at=LATER)
    assert three.active_history.read_bytes().startswith(before + b"\n")
    assert actions(three)[3:] == [(None, None, MID), (4, "adopt", MID)]


def test_a_lost_tail_is_adopted_and_its_numbers_are_not_used_again(three: Home) -> None:
    _cut_back(three, 1)
    assert ("P3", "record_missing") in damage(three)
    repair(three, at=LATER)
    assert actions(three) == [(1, "promote", OLD), (4, "adopt", NEW)]
    assert history_lines(three)[-1]["acknowledges"] == [2]
    assert read_active(three).sequence == 3  # the pointer itself is left alone


def test_a_change_of_a_line_that_was_noted_before_is_damage_again(three: Home) -> None:
    rewrite_line(three, 1, lambda line: b"garbage")
    repair(three, at=LATER)
    assert damage(three) == []
    rewrite_line(three, 1, lambda line: b"other garbage")
    found = [(finding.code, "line 4:" in finding.detail) for finding in check_registry(three) if finding.severity == "damage"]
    assert found == [("history_line_damaged", True)]  # the record that noted it
    rewrite_line(three, 1, lambda line: b"garbage")
    assert damage(three) == []


def test_a_history_that_is_read_with_naive_times_keeps_them(home: Home) -> None:
    home.models.mkdir()
    home.active_history.write_bytes(foreign_line("x").replace(b"+00:00", b"") + b"\n")
    assert read_history(home).entries[0].at == datetime(2026, 2, 20, tzinfo=UTC).replace(tzinfo=None)
