"""The commands about registry and evidence as a person types them: what they print, what they refuse in which words, and how they exit."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from taskclf_dagster.cli.main import main
from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.jobs.retrain import RetrainParams, run_retrain_pipeline
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import list_decisions
from taskclf_dagster.domain.decision.verdict import REQUIRED_GATES
from taskclf_dagster.domain.models.bundle_paths import find_bundle
from taskclf_dagster.domain.registry.fsck import PROMISES
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.domain.registry.retention import plan_prune
from taskclf_dagster.domain.retraining.model_comparison import FIGURES
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import MID, NEW, OLD, change_a_leaf, contents, edit_json
from taskclf_dagster_tests.registry_scenario import NEXT, cut_off, promoted, settled, stamps, write_variant
from taskclf_dagster_tests.scenario import AS_OF, DAY, add_learnable_days, learnable_home, make_home

EASY = "min_class_windows: 20\nmin_windows: 50\nmax_negative_flips: 1.0\nmax_flip_excess: 1.0\ntrain_params: {num_boost_round: 10}\n"
UNKNOWN = "2020-01-01_000000_run-0000"


@dataclass(frozen=True)
class Story:
    """A home whose first model was promoted, and whose second waits for approval, with the same receipts and snapshots as in life."""

    home: Home
    config: Path
    champion: str
    waiting: PromotionDecision

    def copy(self, folder: Path) -> "Story":
        shutil.copytree(self.home.root, folder / "home")
        return Story(Home(folder / "home"), self.config, self.champion, self.waiting)

    @property
    def challenger(self) -> str:
        return self.waiting.challenger.model_id


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("told")
    home = learnable_home(folder, days=6)
    config, by_itself = folder / "easy.yaml", folder / "promote.yaml"
    config.write_text(EASY, encoding="utf-8")
    by_itself.write_text(f"{EASY}auto_promote: true\n", encoding="utf-8")

    def retrain(settings: Path, at: datetime) -> PromotionDecision:
        definitions = build_definitions(home=HomeResource(root=str(home.root)), clock=ClockResource(fixed=at.isoformat()))
        with dg.DagsterInstance.ephemeral() as instance:
            decision = run_retrain_pipeline(definitions, RetrainParams(config_path=str(settings)), instance=instance).decision
        assert decision is not None
        return decision

    first = retrain(by_itself, AS_OF + timedelta(hours=1))
    add_learnable_days(home)
    waiting = retrain(config, AS_OF + DAY + timedelta(hours=1))
    assert (first.verdict, waiting.verdict) == ("PROMOTE", "AWAITING_APPROVAL")
    return Story(home, config, first.challenger.model_id, waiting)


@pytest.fixture
def story(told: Story, tmp_path: Path) -> Story:
    return told.copy(tmp_path)


@pytest.fixture
def registry(tmp_path: Path) -> Home:
    """Three models ran, the newest of them runs."""
    return promoted(make_home(tmp_path), OLD, MID, NEW)


def _run(home: Home, *arguments: str | Path) -> Result:
    """The command with the option --home behind it."""
    return CliRunner().invoke(main, [*map(str, arguments), "--home", str(home.root)])


def _active(home: Home) -> str | None:
    pointer = read_active(home)
    return None if pointer is None else pointer.name


def _says(result: Result, *words: str) -> None:
    """Exit code 0, and all of these words."""
    assert result.exit_code == 0, result.output
    missing = [word for word in words if word not in " ".join(result.output.split())]
    assert missing == [], result.output


def _refuses(result: Result, *words: str) -> None:
    """Exit code 1 and one message with all of these words; no traceback, and nothing that looks like a success."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.stdout == ""
    message = " ".join(result.stderr.split())
    assert message.startswith("Error: ")
    assert [word for word in words if word not in message] == [], message
    assert "Traceback" not in message
    assert message.count(words[0]) == 1


# --- What all of them have in common ---------------------------------------------------------------------------------------------------

COMMANDS: dict[str, list[str]] = {
    "rollback": ["rollback", "--reason", "because"],
    "approve": ["approve", "d-1"],
    "unblock": ["unblock", MID, "--reason", "because"],
    "prune": ["prune"],
    "prune dry": ["prune", "--dry-run"],
    "registry fsck": ["registry", "fsck"],
    "registry repair": ["registry", "repair"],
    "verify": ["verify", "d-1"],
    "reproduce": ["reproduce", MID],
    "compare": ["compare", MID, OLD],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_home_that_does_not_exist_is_one_message_and_is_not_made(tmp_path: Path, command: str) -> None:
    nowhere = Home(tmp_path / "nowhere")
    _refuses(_run(nowhere, *COMMANDS[command]), f"There is no taskclf home at {nowhere.root}", "taskclf-dagster demo")
    assert not nowhere.root.exists()


@pytest.mark.parametrize("command", ["prune", "compare"])
def test_a_wrong_configuration_is_one_message_before_anything_happens(registry: Home, tmp_path: Path, command: str) -> None:
    config = tmp_path / "wrong.yaml"
    config.write_text("keep_version: 3\n", encoding="utf-8")
    before = contents(registry.root)
    _refuses(_run(registry, *COMMANDS[command], "--config", config), "is not a valid retrain configuration", "keep_version: unknown key")
    assert contents(registry.root) == before


@pytest.mark.parametrize(("command", "missing"), [("rollback", "--reason"), ("unblock", "--reason"), ("approve", "DECISION_ID")])
def test_what_must_be_given_is_asked_for(registry: Home, command: str, missing: str) -> None:
    arguments = {"rollback": ["rollback"], "unblock": ["unblock", MID], "approve": ["approve"]}[command]
    result = _run(registry, *arguments)
    assert result.exit_code == 2
    assert missing in result.stderr


# --- rollback and unblock ----------------------------------------------------------------------------------------------------------------


def test_rollback_goes_back_and_says_what_runs_now(registry: Home) -> None:
    result = _run(registry, "rollback", "--reason", "it sees meetings everywhere")
    _says(result, f"taskclf now runs {MID} (models/{MID}), record 4")
    assert _active(registry) == MID
    last = read_history(registry).entries[-1]
    assert (last.action, last.reason) == ("rollback", "it sees meetings everywhere")
    assert last.at.date() == datetime.now(UTC).date()


def test_rollback_goes_to_the_model_that_was_named(registry: Home) -> None:
    _says(_run(registry, "rollback", "--to", OLD, "--reason", "because"), f"taskclf now runs {OLD}")
    assert _active(registry) == OLD


REFUSED: dict[str, tuple[list[str], str, str]] = {
    "what runs now": (["--to", NEW], "it is the active model", "`taskclf-dagster list` shows them"),
    "no such model": (["--to", UNKNOWN], "invalid: missing model.txt", "Name another model"),
    "out of models/": (["--to", "../artifacts"], "it is not the id of a model", "`taskclf-dagster list` shows them"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_rollback_that_cannot_be_is_refused_and_nothing_changes(registry: Home, case: str) -> None:
    options, words, fix = REFUSED[case]
    before = contents(registry.root)
    _refuses(_run(registry, "rollback", *options, "--reason", "because"), f"Rolling back to {options[1]} is refused: ", words, fix)
    assert contents(registry.root) == before


def test_with_one_model_there_is_nothing_to_go_back_to(tmp_path: Path) -> None:
    home = promoted(make_home(tmp_path), NEW)
    before = contents(home.root)
    words = "Rolling back to the model before is refused: the history has no other model that can run. Run a retrain instead."
    _refuses(_run(home, "rollback", "--reason", "because"), words)
    assert contents(home.root) == before


def test_a_rollback_in_a_home_where_nothing_ever_ran_is_refused_and_makes_nothing(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    _refuses(_run(home, "rollback", "--reason", "because"), "the history has no other model that can run")
    assert contents(home.models) == {}


def test_unblock_allows_what_a_rollback_left(registry: Home) -> None:
    _run(registry, "rollback", "--reason", "one")
    _refuses(_run(registry, "rollback", "--to", NEW, "--reason", "two"), "an earlier rollback left it", f"taskclf-dagster unblock {NEW}")
    _says(_run(registry, "unblock", NEW, "--reason", "it was the labels"), f"{NEW} may be promoted again")
    assert read_history(registry).blocked == {}
    assert read_history(registry).entries[-1].reason == "it was the labels"
    _says(_run(registry, "rollback", "--to", NEW, "--reason", "three"), f"taskclf now runs {NEW}")


def test_unblocking_what_is_not_blocked_is_refused_with_what_is(registry: Home) -> None:
    _refuses(_run(registry, "unblock", MID, "--reason", "because"), f"Unblocking {MID} is refused: it is not blocked. Blocked is: nothing.")
    _run(registry, "rollback", "--reason", "one")
    before = contents(registry.root)
    _refuses(_run(registry, "unblock", OLD, "--reason", "because"), f"Blocked is: {NEW}.")
    assert contents(registry.root) == before


# --- approve -----------------------------------------------------------------------------------------------------------------------------


def test_approve_promotes_what_waits_and_says_what_runs_now(story: Story) -> None:
    result = _run(story.home, "approve", story.waiting.decision_id)
    _says(result, f"taskclf now runs {story.challenger} (models/{story.challenger}), record 2")
    assert _active(story.home) == story.challenger
    assert (read_history(story.home).entries[-1].reason or "").startswith("approved by a person")
    _says(_run(story.home, "registry", "fsck"), "every promise holds")


def test_an_unknown_decision_is_refused_with_how_to_find_it(story: Story) -> None:
    before = contents(story.home.root)
    for name in ("d-1", "../decisions/x", ""):
        _refuses(_run(story.home, "approve", name), f"There is no decision {name!r} in", "`taskclf-dagster history` lists them")
    assert contents(story.home.root) == before


def test_approving_what_runs_already_changes_nothing(story: Story) -> None:
    first = next(d for d in list_decisions(story.home)[0] if d.verdict == "PROMOTE")
    before = contents(story.home.models)
    _run(story.home, "approve", first.decision_id)
    assert contents(story.home.models) == before


def test_a_decision_to_promote_that_is_not_in_effect_any_more_cannot_be_approved_back(story: Story) -> None:
    first = next(d for d in list_decisions(story.home)[0] if d.verdict == "PROMOTE")
    _run(story.home, "approve", story.waiting.decision_id)
    before = contents(story.home.models)
    _run(story.home, "approve", first.decision_id)
    assert _active(story.home) == story.challenger
    assert contents(story.home.models) == before


def test_an_approval_of_a_bundle_that_was_changed_is_refused(story: Story) -> None:
    change_a_leaf(story.home.pending_models / story.challenger)
    before = contents(story.home.models)
    result = _run(story.home, "approve", story.waiting.decision_id)
    _refuses(result, f"Decision {story.waiting.decision_id} is refused", "is not the one that was judged: model.txt changed")
    assert contents(story.home.models) == before


def test_an_approval_after_the_pointer_moved_is_refused(story: Story) -> None:
    edit_json(story.home.inference_policy, {"reject_threshold": 0.61})
    before = contents(story.home.models)
    words = "active.json or inference_policy.json changed since the decision"
    _refuses(_run(story.home, "approve", story.waiting.decision_id), f"Decision {story.waiting.decision_id} is refused", words)
    assert contents(story.home.models) == before


def test_an_approval_whose_bundle_is_gone_is_refused(story: Story) -> None:
    shutil.rmtree(story.home.pending_models / story.challenger)
    _refuses(_run(story.home, "approve", story.waiting.decision_id), f"bundle {story.challenger} is missing", "Run a new retrain")


# --- prune -------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def full(registry: Home) -> Home:
    """A registry with five rejected bundles, the newest last."""
    for number in range(5):
        write_variant(registry.rejected_models / f"2026-01-0{number + 1}_060000_run-100{number}")
    return registry


def _thrifty(folder: Path) -> Path:
    path = folder / "thrifty.yaml"
    path.write_text("keep_versions: 1\nkeep_rejected: 2\n", encoding="utf-8")
    return path


def _plan(home: Home) -> set[str]:
    return {item.path for item in plan_prune(home, keep_versions=1, keep_rejected=2, at=datetime.now(UTC)).remove}


def test_prune_dry_lists_what_would_go_and_removes_nothing(full: Home, tmp_path: Path) -> None:
    before, expected = contents(full.root), _plan(full)
    result = _run(full, "prune", "--dry-run", "--config", _thrifty(tmp_path))
    _says(result, "would go", f"stays: {NEW} (active)")
    assert {path for path in expected if path not in result.stdout} == set()
    assert re.search(rf"^{len(expected)} would go, \d+\.\d MiB$", result.stdout, re.M)
    assert {f"artifacts/rejected_models/2026-01-0{n}_060000_run-100{n - 1}" for n in (1, 2, 3)} <= expected
    assert contents(full.root) == before


def test_prune_removes_what_the_dry_run_listed_and_nothing_else(full: Home, tmp_path: Path) -> None:
    before, expected = contents(full.root), _plan(full)
    result = _run(full, "prune", "--config", _thrifty(tmp_path))
    _says(result, f"{len(expected)} removed", "not among the newest 2")
    gone = {name for name in before if name not in contents(full.root)}
    assert gone
    assert all(any(name == path or name.startswith(f"{path}/") for path in expected) for name in gone)
    assert not [path for path in expected if (full.root / path).exists()]
    assert _active(full) == NEW
    _says(_run(full, "registry", "fsck"), "every promise holds")


def test_prune_says_so_where_nothing_has_to_go(registry: Home) -> None:
    before = contents(registry.models)
    _says(_run(registry, "prune"), "0 removed, 0.0 MiB", f"stays: {NEW} (active)", f"stays: {MID} (the target of a rollback)")
    assert contents(registry.models) == before


# --- registry fsck and repair -------------------------------------------------------------------------------------------------------------


def test_fsck_of_a_healthy_home_exits_with_0_and_changes_nothing(registry: Home) -> None:
    before = contents(registry.root), stamps(registry.root)
    result = _run(registry, "registry", "fsck")
    assert result.stdout.split("\n")[:2] == [str(registry.root), "every promise holds"]
    assert result.exit_code == 0
    assert (contents(registry.root), stamps(registry.root)) == before
    _says(_run(registry, "registry", "fsck", "--json"))


def test_fsck_of_a_home_without_models_has_nothing_to_say(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    _says(_run(home, "registry", "fsck"), "every promise holds")
    assert contents(home.root) == {}


def _edit_receipt(home: Home) -> None:
    path = home.decisions / f"{read_history(home).entries[-1].decision_id}.json"
    edit_json(path, {"reason": "it looked good"})


DAMAGED: dict[str, tuple[Callable[[Home], object], str, str, bool]] = {
    "the pointer is torn": (lambda home: home.active_pointer.write_text("{", encoding="utf-8"), "P1", "active.json", True),
    "the pointer is gone": (lambda home: home.active_pointer.unlink(), "P1", "active.json is missing", True),
    "the model that runs is damaged": (lambda home: change_a_leaf(home.models / NEW), "P1", "model.txt", False),
    "a promotion was cut off": (lambda home: cut_off(home, NEXT), "P3", "was interrupted before the pointer moved", True),
    "a receipt was edited": (_edit_receipt, "P5", "does not verify", False),
}
"""What to do to a home, the promise that is broken, the words, and whether `repair` alone mends it."""


@pytest.mark.parametrize("case", DAMAGED)
def test_fsck_exits_with_1_on_damage_names_promise_and_fix_and_changes_nothing(registry: Home, case: str) -> None:
    damage, promise, words, _ = DAMAGED[case]
    damage(registry)
    before = contents(registry.root), stamps(registry.root)
    result = _run(registry, "registry", "fsck")
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    plain = " ".join(result.stdout.split())
    assert words in plain
    assert f"{promise} does not hold: {PROMISES[promise]}" in plain
    assert result.stdout.splitlines()[-1] == "damaged"
    assert (contents(registry.root), stamps(registry.root)) == before


@pytest.mark.parametrize("case", DAMAGED)
def test_fsck_as_json_says_the_same_and_exits_the_same(registry: Home, case: str) -> None:
    damage, promise, words, _ = DAMAGED[case]
    damage(registry)
    result = _run(registry, "registry", "fsck", "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert any((f["severity"], f["promise"]) == ("damage", promise) and words in f["words"] and f["fix"] for f in found), found


def test_what_is_only_worth_knowing_is_no_damage(registry: Home) -> None:
    (registry.models / ".active.json.0000.tmp").write_text("{", encoding="utf-8")
    result = _run(registry, "registry", "fsck")
    _says(result, "warning", "is a temporary file of an interrupted write", "every promise holds")


@pytest.mark.parametrize("case", [case for case, (_, _, _, mends) in DAMAGED.items() if mends])
def test_repair_mends_what_it_can_says_what_it_did_and_fsck_is_content(registry: Home, case: str) -> None:
    DAMAGED[case][0](registry)
    result = _run(registry, "registry", "repair")
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() not in ("", "nothing had to be done")
    _says(_run(registry, "registry", "fsck"), "every promise holds")
    _says(_run(registry, "registry", "repair"), "nothing had to be done")


def test_repair_of_a_damaged_model_that_runs_puts_the_last_good_one_back_and_says_what_is_still_damaged(registry: Home) -> None:
    change_a_leaf(registry.models / NEW)
    result = _run(registry, "registry", "repair")
    assert _active(registry) == MID
    assert MID in result.stdout
    assert result.exit_code == 1  # the damaged bundle itself is still there
    assert f"still damaged: {NEW}: " in result.stderr
    assert "Traceback" not in result.output


def test_repair_of_a_healthy_home_does_nothing_and_says_so(registry: Home) -> None:
    before = contents(registry.root)
    _says(_run(registry, "registry", "repair"), "nothing had to be done")
    assert contents(registry.root) == before


def test_repair_takes_note_of_what_another_program_did(tmp_path: Path) -> None:
    home = settled(make_home(tmp_path))
    pointer = json.loads(home.active_pointer.read_text(encoding="utf-8"))
    pointer.pop("sequence", None)
    home.active_pointer.write_text(json.dumps({**pointer, "model_dir": f"models/{OLD}", "model_id": OLD}), encoding="utf-8")
    result = _run(home, "registry", "repair")
    _says(result, OLD)
    assert _active(home) == OLD
    assert read_history(home).entries[-1].action == "adopt"


# --- verify ------------------------------------------------------------------------------------------------------------------------------


def test_verify_says_that_the_verdict_follows_and_from_what(story: Story) -> None:
    before = contents(story.home.root)
    result = _run(story.home, "verify", story.waiting.decision_id)
    _says(result, "AWAITING_APPROVAL: All", f"verified: {len(REQUIRED_GATES)} gates and the verdict follow, the comparison from")
    assert story.waiting.comparison is not None
    assert f"from {len(story.waiting.comparison.sums.blocks)} blocks; sha256 {story.waiting.decision_hash}" in result.stdout
    assert contents(story.home.root) == before


def test_verify_of_a_decision_without_a_champion_claims_no_comparison(story: Story) -> None:
    first = next(d for d in list_decisions(story.home)[0] if d.comparison is None)
    result = _run(story.home, "verify", first.decision_id)
    _says(result, "PROMOTE: All", "gates and the verdict follow; sha256")


def _receipt(story: Story) -> Path:
    return story.home.decisions / f"{story.waiting.decision_id}.json"


def _edit_gate(path: Path) -> None:
    gates = json.loads(path.read_text(encoding="utf-8"))["gates"]
    edit_json(path, {"gates": [{**gate, "observed": 0.99} if gate["name"] == "macro_f1" else gate for gate in gates]})


def _edit_counts(path: Path) -> None:
    comparison = json.loads(path.read_text(encoding="utf-8"))["comparison"]
    comparison["sums"]["cells"][0][3] += 1
    edit_json(path, {"comparison": comparison})


def _indent(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")), indent=2), encoding="utf-8")


def _add_newline(path: Path) -> None:
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")


EDITED: dict[str, tuple[Callable[[Path], object], str]] = {
    "the verdict": (
        lambda path: edit_json(path, {"verdict": "PROMOTE"}),
        "the verdict is PROMOTE, but AWAITING_APPROVAL follows from the gates",
    ),
    "a figure": (_edit_gate, "decision_hash does not match the contents"),
    "the counts": (_edit_counts, "the comparison"),
    "only the indentation": (_indent, "is not the canonical JSON of its contents"),
    "only a newline": (_add_newline, "is not the canonical JSON of its contents"),
}


@pytest.mark.parametrize("case", EDITED)
def test_verify_finds_a_receipt_that_was_edited(story: Story, case: str) -> None:
    edit, words = EDITED[case]
    edit(_receipt(story))
    result = _run(story.home, "verify", story.waiting.decision_id)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    lines = result.stdout.splitlines()
    assert lines
    assert all(line.startswith("does not hold: ") for line in lines)
    assert any(words in line for line in lines), lines
    assert "verified" not in result.stdout


def test_verify_of_a_receipt_that_is_no_receipt_or_not_there_is_one_message(story: Story) -> None:
    _refuses(_run(story.home, "verify", "d-1"), "There is no decision 'd-1' in", "`taskclf-dagster history` lists them")
    _receipt(story).write_text("{", encoding="utf-8")
    _refuses(_run(story.home, "verify", story.waiting.decision_id), f"There is no decision '{story.waiting.decision_id}'")


# --- reproduce ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["what runs", "what waits"])
def test_reproduce_trains_again_and_shows_equal_trees(told: Story, which: str) -> None:
    model_id = told.champion if which == "what runs" else told.challenger
    before = contents(told.home.root)
    result = _run(told.home, "reproduce", model_id)
    _says(result, f"{model_id}: trained again from snapshot", "the same trees, predictions and threshold")
    ours, again = re.search(r"^trees\s+(\S+)$", result.stdout, re.M), re.search(r"^trained now\s+(\S+)$", result.stdout, re.M)
    assert ours is not None
    assert again is not None
    assert ours[1] == again[1]
    assert len(ours[1]) == 64
    assert contents(told.home.root) == before


def test_reproduce_as_json_is_json_alone(told: Story) -> None:
    result = _run(told.home, "reproduce", told.champion, "--json")
    found = json.loads(result.stdout)
    assert (found["model_id"], found["same"], found["tree_hash"]) == (told.champion, True, found["reproduced_tree_hash"])
    assert (found["dataset_hash"], found["probe_digest"]) == (found["dataset_hash"], found["reproduced_probe_digest"])


def test_reproduce_of_a_model_whose_trees_were_changed_exits_with_1_and_says_what_differs(story: Story) -> None:
    folder = story.home.pending_models / story.challenger
    change_a_leaf(folder)
    edit_json(folder / "metadata.json", {}, without="artifact_hash")
    result = _run(story.home, "reproduce", story.challenger)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert re.search(r"trees and predictions( and threshold)? differ", result.stdout)
    assert "the same trees" not in result.stdout


def test_reproduce_of_a_model_whose_snapshot_is_gone_is_one_message(story: Story) -> None:
    shutil.rmtree(story.home.root / story.waiting.dataset.path)
    _refuses(
        _run(story.home, "reproduce", story.challenger),
        f"Dataset snapshot {story.home.root / story.waiting.dataset.path}",
        "cannot be used",
    )


def test_reproduce_of_a_model_whose_snapshot_was_changed_is_one_message(story: Story) -> None:
    path = story.home.root / story.waiting.dataset.path / "windows.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    _refuses(_run(story.home, "reproduce", story.challenger), f"Dataset snapshot {path.parent}", "cannot be used")


def test_reproduce_of_a_model_of_another_program_says_that_it_cannot_be(registry: Home) -> None:
    words = "metadata.json does not say from which snapshot and settings it was made: it is not of this program"
    _refuses(_run(registry, "reproduce", NEW), words)


@pytest.mark.parametrize("command", [["reproduce", UNKNOWN], ["compare", UNKNOWN, UNKNOWN]], ids=["reproduce", "compare"])
def test_an_unknown_model_is_one_message_that_names_it(told: Story, command: list[str]) -> None:
    _refuses(_run(told.home, *command), "there is no such bundle in models/ or in artifacts/", UNKNOWN)


# --- compare -----------------------------------------------------------------------------------------------------------------------------


def _compare(story: Story, *options: str | Path) -> Result:
    return _run(story.home, "compare", story.challenger, story.champion, "--config", story.config, *options)


@pytest.fixture(scope="module")
def compared(told: Story) -> tuple[Result, dict]:
    """What is printed, and the same as JSON."""
    return _compare(told), json.loads(_compare(told, "--json").stdout)


def _line(result: Result, name: str) -> list[str]:
    return re.split(r"\s{2,}", next(line for line in result.stdout.splitlines() if line.startswith(f"{name} ")).strip())


@pytest.mark.parametrize("figure", FIGURES)
def test_compare_prints_every_figure_of_both_with_absolute_and_relative_difference(compared: tuple[Result, dict], figure: str) -> None:
    shown, document = compared
    pair = next(pair for pair in document["figures"] if pair["name"] == figure)
    expected = [figure, f"{pair['first']:.4f}", f"{pair['second']:.4f}", f"{pair['absolute']:+.4f}", f"{pair['relative']:+.1%}"]
    direction = {"higher": ["higher is better"], "lower": ["lower is better"], "neither": []}[pair["better"]]
    assert _line(shown, figure) == expected + direction


def test_compare_has_the_figures_that_were_asked_for(compared: tuple[Result, dict]) -> None:
    asked = {"macro_f1", "weighted_f1", "accuracy", "macro_precision", "macro_recall", "one_vs_rest_auc", "multiclass_log_loss"}
    assert asked <= {pair["name"] for pair in compared[1]["figures"]}


def test_compare_names_both_models_the_windows_and_what_was_left_out(told: Story, compared: tuple[Result, dict]) -> None:
    shown, document = compared
    lines = shown.stdout.splitlines()
    assert lines[0] == f"A {told.challenger}"
    assert lines[1] == f"B {told.champion}"
    assert lines[2] == f"on {document['windows']} windows of snapshot {told.waiting.dataset.dataset_hash}"
    assert lines[3] == document["comparison"]["exclusion"]["summary"]


def test_compare_prints_every_factor_the_interval_and_the_verdict(compared: tuple[Result, dict]) -> None:
    shown, document = compared
    assert shown.exit_code == 0
    for gate in document["factors"]:
        assert re.search(rf"^{gate['status']}\s+{gate['name']}\s", shown.stdout, re.M), gate["name"]
    low, high = document["comparison"]["evidence"]["interval"]
    assert f"95 % interval {low:.3f} to {high:.3f}" in shown.stdout
    verdict = document["verdict"].replace("FIRST", "A").replace("SECOND", "B")
    assert f"\n{verdict}: {document['reason'].replace('The challenger', 'A')}\n" in shown.stdout
    assert shown.stdout.splitlines()[-1] == f"A {'could' if document['would_replace'] else 'could not'} replace B by these gates."


def test_compare_agrees_with_the_decision_that_was_made_about_the_same_two(told: Story, compared: tuple[Result, dict]) -> None:
    _, document = compared
    made = told.waiting.comparison
    assert made is not None
    assert document["comparison"]["macro_f1_delta"] == made.macro_f1_delta
    assert document["comparison"]["evidence"]["interval"] == list(made.evidence.interval or ())
    assert document["comparison"]["flips"]["negative"] == made.flips.negative


def test_compare_writes_nothing(told: Story) -> None:
    before = contents(told.home.root), stamps(told.home.root)
    _compare(told)
    assert (contents(told.home.root), stamps(told.home.root)) == before


def test_compare_with_the_shipped_policy_says_that_too_few_windows_are_left(told: Story, tmp_path: Path) -> None:
    config = tmp_path / "many.yaml"
    config.write_text("min_windows: 100000\n", encoding="utf-8")
    result = _run(told.home, "compare", told.challenger, told.champion, "--config", config)
    _says(result, "INCONCLUSIVE: only", "min_windows is 100000", "A could not replace B by these gates.")


def test_compare_in_a_home_without_a_snapshot_is_one_message(registry: Home) -> None:
    words = "dataset_snapshot has never been materialized for this home", "Materialize dataset_snapshot first"
    _refuses(_run(registry, "compare", NEW, MID), *words)


def test_compare_with_a_damaged_model_is_one_message_that_names_it(story: Story) -> None:
    folder = find_bundle(story.home, story.challenger)
    assert folder is not None
    (folder / "model.txt").unlink()
    _refuses(_compare(story), f"Model bundle {folder} cannot be used", "missing model.txt")
