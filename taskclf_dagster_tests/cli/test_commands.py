"""The commands about registry and evidence as a person types them: what they print, what they refuse in which words, and how they exit."""

import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner, Result
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.cli.main import main
from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.jobs.retrain import RetrainParams, run_retrain_pipeline
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource
from taskclf_dagster.domain.decision.decision import PromotionDecision, seal
from taskclf_dagster.domain.decision.decision_store import list_decisions, receipt_text
from taskclf_dagster.domain.decision.verdict import REQUIRED_GATES
from taskclf_dagster.domain.models.bundle_paths import find_bundle
from taskclf_dagster.domain.registry.fsck import PROMISES
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.domain.registry.retention import plan_prune
from taskclf_dagster.domain.retraining.model_comparison import FIGURES
from taskclf_dagster.errors import (
    BundleError,
    DecisionNotFoundError,
    DecisionNotVerifiedError,
    HomeNotFoundError,
    RecordNotFoundError,
    RegistryRefusedError,
    SettingsError,
    SnapshotError,
    TaskclfDagsterError,
)
from taskclf_dagster.home import Home
from taskclf_dagster_tests.masking import masked, table_words
from taskclf_dagster_tests.models import MID, NEW, OLD, change_a_leaf, contents, edit_json, with_changes
from taskclf_dagster_tests.registry_scenario import NEXT, cut_off, promoted, settled, stamps, write_variant
from taskclf_dagster_tests.scenario import AS_OF, DAY, add_learnable_days, learnable_home, make_home
from taskclf_dagster_tests.signing import OWNER, STRANGER, keys_of, signed

EASY = (
    "min_class_windows: 20\nmin_windows: 50\n"
    "max_negative_flips: 1.0\nmax_flip_excess: 1.0\ntrain_params: {num_boost_round: 10}\nsearch: off\n"
)
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


def _run(home: Home, *arguments: str | Path, **options: object) -> Result:
    """The command with the option --home behind it."""
    return CliRunner().invoke(main, [*map(str, arguments), "--home", str(home.root)], **options)


def _active(home: Home) -> str | None:
    pointer = read_active(home)
    return None if pointer is None else pointer.name


def _succeeds(result: Result, *names: str) -> None:
    """Exit code 0, and all of these names."""
    assert result.exit_code == 0, result.output
    missing = [name for name in names if name not in " ".join(result.output.split())]
    assert missing == [], result.output


def _refuses(error: type[TaskclfDagsterError], home: Home, arguments: Sequence[str | Path], *names: str) -> None:
    """Exit code 1 and one message with all of these names, of this error; no traceback, and nothing that looks like a success."""
    result = _run(home, *arguments)
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.stdout == ""
    message = " ".join(result.stderr.split())
    assert message.startswith("Error: ")
    assert [name for name in names if name not in message] == [], message
    assert "Traceback" not in message
    shown = _run(home, *arguments, standalone_mode=False).exception
    assert shown is not None
    assert type(shown.__cause__) is error


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
    "report": ["report", "latest"],
    "compare": ["compare", MID, OLD],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_home_that_does_not_exist_is_one_message_and_is_not_made(tmp_path: Path, command: str) -> None:
    nowhere = Home(tmp_path / "nowhere")
    _refuses(HomeNotFoundError, nowhere, COMMANDS[command], str(nowhere.root))
    assert not nowhere.root.exists()


@pytest.mark.parametrize("command", ["prune", "compare"])
def test_a_wrong_configuration_is_one_message_before_anything_happens(registry: Home, tmp_path: Path, command: str) -> None:
    config = tmp_path / "wrong.yaml"
    config.write_text("keep_version: 3\n", encoding="utf-8")
    before = contents(registry.root)
    _refuses(SettingsError, registry, [*COMMANDS[command], "--config", config], "keep_version")
    assert contents(registry.root) == before


@pytest.mark.parametrize("command", ["rollback", "registry fsck", "registry repair"])
def test_a_wrong_value_keeps_nobody_from_a_rollback_or_a_repair_but_a_wrong_key_of_signatures_does(
    registry: Home, tmp_path: Path, command: str
) -> None:
    config = tmp_path / "wrong.yaml"
    config.write_text("signing:\n  public_key: nonsense\n", encoding="utf-8")
    _refuses(SettingsError, registry, [*COMMANDS[command], "--config", config], "signing.public_key")
    config.write_text("keep_version: 3\nmin_windows: many\n", encoding="utf-8")
    _succeeds(_run(registry, *COMMANDS[command], "--config", config))


@pytest.mark.parametrize(("command", "missing"), [("rollback", "--reason"), ("unblock", "--reason")])
def test_what_must_be_given_is_asked_for(registry: Home, command: str, missing: str) -> None:
    arguments = {"rollback": ["rollback"], "unblock": ["unblock", MID], "approve": ["approve"]}[command]
    result = _run(registry, *arguments)
    assert result.exit_code == 2
    assert missing in result.stderr


# --- rollback and unblock ----------------------------------------------------------------------------------------------------------------


def test_rollback_goes_back_and_says_what_runs_now(registry: Home) -> None:
    result = _run(registry, "rollback", "--reason", "it sees meetings everywhere")
    _succeeds(result, f"models/{MID}", "4")
    assert _active(registry) == MID
    last = read_history(registry).entries[-1]
    assert (last.action, last.reason) == ("rollback", "it sees meetings everywhere")
    assert last.at.date() == datetime.now(UTC).date()


def test_rollback_goes_to_the_model_that_was_named(registry: Home) -> None:
    _succeeds(_run(registry, "rollback", "--to", OLD, "--reason", "because"), OLD)
    assert _active(registry) == OLD


def test_a_rollback_to_a_model_that_does_not_exist_says_so(registry: Home) -> None:
    _refuses(RegistryRefusedError, registry, ["rollback", "--to", "nonsense", "--reason", "because"], "has no such model", "nonsense")


def test_a_rollback_that_cannot_be_is_refused_and_nothing_changes(registry: Home) -> None:
    before = contents(registry.root)
    _refuses(RegistryRefusedError, registry, ["rollback", "--to", NEW, "--reason", "because"], NEW)
    assert contents(registry.root) == before


def test_a_rollback_in_a_home_where_nothing_ever_ran_is_refused_and_makes_nothing(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    _refuses(RegistryRefusedError, home, ["rollback", "--reason", "because"])
    assert contents(home.models) == {}


def test_unblock_allows_what_a_rollback_left(registry: Home) -> None:
    _run(registry, "rollback", "--reason", "one")
    _refuses(RegistryRefusedError, registry, ["rollback", "--to", NEW, "--reason", "two"], f"taskclf-dagster unblock {NEW}")
    _succeeds(_run(registry, "unblock", NEW, "--reason", "it was the labels"), NEW)
    assert read_history(registry).blocked == {}
    assert read_history(registry).entries[-1].reason == "it was the labels"
    _succeeds(_run(registry, "rollback", "--to", NEW, "--reason", "three"), NEW)


def test_unblocking_what_is_not_blocked_is_refused_with_what_is(registry: Home) -> None:
    _run(registry, "rollback", "--reason", "one")
    before = contents(registry.root)
    _refuses(RegistryRefusedError, registry, ["unblock", OLD, "--reason", "because"], OLD, NEW)
    assert contents(registry.root) == before


# --- approve -----------------------------------------------------------------------------------------------------------------------------


def _approving(story: Story) -> list[str | Path]:
    """The approval of what waits, under the policy that it was judged by."""
    return ["approve", story.waiting.decision_id, "--config", story.config]


def test_approve_promotes_what_waits_and_says_what_runs_now(story: Story) -> None:
    result = _run(story.home, *_approving(story))
    _succeeds(result, f"models/{story.challenger}", "2")
    assert _active(story.home) == story.challenger
    last = read_history(story.home).entries[-1]
    assert (last.action, last.decision_id) == ("promote", story.waiting.decision_id)
    _succeeds(_run(story.home, "registry", "fsck"))


def test_approve_without_an_id_promotes_the_one_that_waits_and_refuses_if_none_does(story: Story) -> None:
    result = _run(story.home, "approve", "--config", story.config)
    _succeeds(result, f"models/{story.challenger}")
    assert _active(story.home) == story.challenger
    status = json.loads(_run(story.home, "status", "--json").stdout)
    assert (status["last_outcome"], status["last_moved"]) == ("AWAITING_APPROVAL", 2)
    assert status["reason"].startswith("this Dagster instance has no retrain of this home; the last one decided on 2026-")
    approved = json.loads(_run(story.home, "history", "--json").stdout)[0]
    assert (approved["decision_id"], approved["moved"]) == (story.waiting.decision_id, 2)
    assert approved["reason"].startswith("approved by a person. ")
    assert "has to approve" not in _run(story.home, "history").stdout
    _refuses(RegistryRefusedError, story.home, ["approve", "--config", story.config], "no decision awaits approval")


def test_an_unknown_decision_is_refused_with_how_to_find_it(story: Story) -> None:
    before = contents(story.home.root)
    for name in ("d-1", "../decisions/x", ""):
        _refuses(DecisionNotFoundError, story.home, ["approve", name], repr(name), "taskclf-dagster history")
    assert contents(story.home.root) == before


def test_approving_what_runs_already_changes_nothing(story: Story) -> None:
    first = next(d for d in list_decisions(story.home)[0] if d.verdict == "PROMOTE")
    before = contents(story.home.models)
    _run(story.home, "approve", first.decision_id, "--config", story.config)
    assert contents(story.home.models) == before


def test_a_decision_to_promote_that_is_not_in_effect_any_more_cannot_be_approved_back(story: Story) -> None:
    first = next(d for d in list_decisions(story.home)[0] if d.verdict == "PROMOTE")
    _run(story.home, *_approving(story))
    before = contents(story.home.models)
    _run(story.home, "approve", first.decision_id, "--config", story.config)
    assert _active(story.home) == story.challenger
    assert contents(story.home.models) == before


def test_an_approval_of_a_bundle_that_was_changed_is_refused(story: Story) -> None:
    change_a_leaf(story.home.pending_models / story.challenger)
    before = contents(story.home.models)
    _refuses(
        DecisionNotVerifiedError,
        story.home,
        _approving(story),
        story.waiting.decision_id,
        "model.txt",
    )
    assert contents(story.home.models) == before


def test_an_approval_after_the_pointer_moved_is_refused(story: Story) -> None:
    edit_json(story.home.inference_policy, {"reject_threshold": 0.61})
    before = contents(story.home.models)
    _refuses(DecisionNotVerifiedError, story.home, _approving(story), "inference_policy.json")
    assert contents(story.home.models) == before


def test_an_approval_whose_bundle_is_gone_is_refused(story: Story) -> None:
    shutil.rmtree(story.home.pending_models / story.challenger)
    _refuses(DecisionNotVerifiedError, story.home, _approving(story), story.challenger)


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
    _succeeds(result, NEW)
    assert {path for path in expected if path not in result.stdout} == set()
    assert re.search(rf"^{len(expected)} .*\d+\.\d MiB$", result.stdout, re.M)
    assert {f"artifacts/rejected_models/2026-01-0{n}_060000_run-100{n - 1}" for n in (1, 2, 3)} <= expected
    assert contents(full.root) == before


def test_prune_removes_what_the_dry_run_listed_and_nothing_else(full: Home, tmp_path: Path) -> None:
    before, expected = contents(full.root), _plan(full)
    result = _run(full, "prune", "--config", _thrifty(tmp_path))
    _succeeds(result, f"{len(expected)} removed")
    gone = {name for name in before if name not in contents(full.root)}
    assert gone
    assert all(any(name == path or name.startswith(f"{path}/") for path in expected) for name in gone)
    assert not [path for path in expected if (full.root / path).exists()]
    assert _active(full) == NEW
    _succeeds(_run(full, "registry", "fsck"))


def test_prune_says_so_where_nothing_has_to_go(registry: Home) -> None:
    before = contents(registry.models)
    _succeeds(_run(registry, "prune"), "0.0 MiB", NEW, MID)
    assert contents(registry.models) == before


# --- registry fsck and repair -------------------------------------------------------------------------------------------------------------


def test_fsck_of_a_healthy_home_exits_with_0_and_changes_nothing(registry: Home) -> None:
    before = contents(registry.root), stamps(registry.root)
    result = _run(registry, "registry", "fsck")
    assert result.exit_code == 0
    assert (contents(registry.root), stamps(registry.root)) == before
    assert json.loads(_run(registry, "registry", "fsck", "--json").stdout) == []


def test_fsck_of_a_home_that_cannot_be_written_to_does_not_end_as_if_all_were_well(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    (tmp_path / "disk").mkdir()
    home.models.symlink_to(tmp_path / "disk")
    last = _run(home, "registry", "fsck").stdout.splitlines()[-2]
    assert "nothing can be promoted" in last
    assert "every promise holds" not in last


def test_fsck_of_a_home_without_models_has_nothing_to_say(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    before = contents(home.root)
    assert json.loads(_run(home, "registry", "fsck", "--json").stdout) == []
    assert contents(home.root) == before


def _edit_receipt(home: Home) -> None:
    path = home.decisions / f"{read_history(home).entries[-1].decision_id}.json"
    edit_json(path, {"reason": "it looked good"})


DAMAGED: dict[str, tuple[Callable[[Home], object], str, str, bool]] = {
    "the pointer is torn": (lambda home: home.active_pointer.write_text("{", encoding="utf-8"), "P1", "pointer_unusable", True),
    "the model that runs is damaged": (lambda home: change_a_leaf(home.models / NEW), "P1", "pointer_unusable", False),
    "a promotion was cut off": (lambda home: cut_off(home, NEXT), "P3", "change_interrupted", True),
    "a receipt was edited": (_edit_receipt, "P5", "promotion_without_receipt", False),
}
"""A harm to a home, the promise that it breaks, the code, and True if `repair` alone mends it."""


@pytest.mark.parametrize("case", DAMAGED)
def test_fsck_exits_with_1_on_damage_names_promise_and_fix_and_changes_nothing(registry: Home, case: str) -> None:
    damage, promise, code, _ = DAMAGED[case]
    damage(registry)
    before = contents(registry.root), stamps(registry.root)
    result, document = _run(registry, "registry", "fsck"), _run(registry, "registry", "fsck", "--json")
    assert (result.exit_code, document.exit_code) == (1, 1)
    assert isinstance(result.exception, SystemExit)
    assert PROMISES[promise] in " ".join(result.stdout.split())
    found = json.loads(document.stdout)
    assert any((f["severity"], f["promise"], f["code"]) == ("damage", promise, code) and f["fix"] for f in found), found
    assert (contents(registry.root), stamps(registry.root)) == before


def test_what_is_only_worth_knowing_is_no_damage(registry: Home) -> None:
    (registry.models / ".active.json.0000.tmp").write_text("{", encoding="utf-8")
    result = _run(registry, "registry", "fsck", "--json")
    assert result.exit_code == 0
    assert [(f["severity"], f["code"]) for f in json.loads(result.stdout)] == [("warning", "temporary_file")]


@pytest.mark.parametrize("case", [case for case, (_, _, _, mends) in DAMAGED.items() if mends])
def test_repair_mends_what_it_can_says_what_it_did_and_fsck_is_content(registry: Home, case: str) -> None:
    DAMAGED[case][0](registry)
    result = _run(registry, "registry", "repair")
    assert result.exit_code == 0, result.output
    _succeeds(_run(registry, "registry", "fsck"))
    again = _run(registry, "registry", "repair")
    _succeeds(again)
    assert again.stdout != result.stdout


def test_repair_of_a_damaged_model_that_runs_puts_the_last_good_one_back_and_says_what_is_still_damaged(registry: Home) -> None:
    change_a_leaf(registry.models / NEW)
    result = _run(registry, "registry", "repair")
    assert _active(registry) == MID
    assert MID in result.stdout
    assert result.exit_code == 1  # the damaged bundle itself is still there
    assert NEW in result.stderr
    assert "Traceback" not in result.output


def test_repair_of_a_healthy_home_does_nothing_and_says_so(registry: Home) -> None:
    before = contents(registry.root)
    _succeeds(_run(registry, "registry", "repair"))
    assert contents(registry.root) == before


def test_repair_takes_note_of_what_another_program_did(tmp_path: Path) -> None:
    home = settled(make_home(tmp_path))
    pointer = json.loads(home.active_pointer.read_text(encoding="utf-8"))
    pointer.pop("sequence", None)
    home.active_pointer.write_text(json.dumps({**pointer, "model_dir": f"models/{OLD}", "model_id": OLD}), encoding="utf-8")
    result = _run(home, "registry", "repair")
    _succeeds(result, OLD)
    assert _active(home) == OLD
    assert read_history(home).entries[-1].action == "adopt"


# --- report ------------------------------------------------------------------------------------------------------------------------------


def test_report_prints_the_file_that_the_retrain_wrote_and_writes_it_if_it_is_missing(story: Story) -> None:
    decision_id = story.waiting.decision_id
    path = story.home.reports / f"{decision_id}.html"
    written = path.read_bytes()
    path.unlink()
    for name in (decision_id, "latest"):
        result = _run(story.home, "report", name)
        assert (result.exit_code, result.stdout, result.stderr) == (0, f"{path}\n", "")
    assert path.read_bytes() == written
    path.write_bytes(b"as it is")
    _succeeds(_run(story.home, "report", decision_id), str(path))
    assert path.read_bytes() == b"as it is"


def test_of_decisions_with_one_as_of_time_the_latest_is_that_which_was_written_last(story: Story) -> None:
    first = story.waiting
    for number, options in enumerate((first.options.model_copy(update={"dry_run": True}), first.options), start=1):
        again = seal(with_changes(first, options=options, reason=f"judgement {number}"))
        (story.home.decisions / f"{again.decision_id}.json").write_text(receipt_text(again), encoding="utf-8")
        os.utime(story.home.decisions / f"{again.decision_id}.json", (2_000_000_000 + number, 2_000_000_000 + number))
        _succeeds(_run(story.home, "report", "latest"), again.decision_id)


def test_report_says_what_the_home_no_longer_has(story: Story, tmp_path: Path) -> None:
    shutil.rmtree(story.home.records)
    result = _run(story.home, "report", "latest", "--output", tmp_path / "report.html")
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'report.html'}\n")
    assert "confusions and calibration are left out" in result.stderr
    assert "What it confuses" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_report_makes_no_folder_for_a_file_that_may_be_misspelled(story: Story, tmp_path: Path) -> None:
    for given, words in ((tmp_path / "nowhere" / "x.html", "there is no folder"), (tmp_path, "it is a folder")):
        result = _run(story.home, "report", "latest", "--output", given)
        assert (result.exit_code, words in result.stderr) == (1, True), given
    assert not (tmp_path / "nowhere").exists()


def test_report_compares_two_models_without_a_verdict(story: Story, tmp_path: Path) -> None:
    models = story.challenger, story.champion
    output = tmp_path / "pair.html"
    _succeeds(_run(story.home, "report", "--compare", *models, "--output", output, "--config", story.config), str(output))
    text = output.read_text(encoding="utf-8")
    assert [name for name in models if name not in text] == []
    assert "Both models on the same minutes" in text
    assert 'class="badge' not in text


@pytest.mark.parametrize("name", ["../active", "2026-01-01_000000_0a963156"])
def test_report_of_an_unknown_decision_is_refused(registry: Home, name: str) -> None:
    _refuses(DecisionNotFoundError, registry, ["report", name], "history")


def test_report_wants_a_decision_or_two_models(registry: Home) -> None:
    for arguments in ([], ["latest", "--compare", OLD, MID]):
        result = _run(registry, "report", *arguments)
        assert result.exit_code == 2
        assert "--compare MODEL_A MODEL_B" in result.output


# --- verify ------------------------------------------------------------------------------------------------------------------------------


def test_verify_says_that_the_verdict_follows_and_from_what(story: Story) -> None:
    before = contents(story.home.root)
    result = _run(story.home, "verify", story.waiting.decision_id)
    assert story.waiting.comparison is not None
    numbers = [str(len(REQUIRED_GATES)), str(len(story.waiting.comparison.sums.blocks)), story.waiting.decision_hash]
    _succeeds(result, "AWAITING_APPROVAL: ", *numbers)
    assert contents(story.home.root) == before


def test_verify_checks_the_signature_of_a_receipt_if_there_is_a_public_key(tmp_path: Path) -> None:
    home, config = make_home(tmp_path), tmp_path / "signed.yaml"
    config.write_text(json.dumps({"signing": {"public_key": OWNER[1]}}), encoding="utf-8")
    ours, theirs = signed(home, OLD), signed(home, NEW, keys_of(STRANGER))
    _succeeds(_run(home, "verify", ours.decision_id, "--config", config), "verified")
    refused = _run(home, "verify", theirs.decision_id, "--config", config)
    assert (refused.exit_code, "does not hold: it is signed with a key" in refused.output) == (1, True)
    _succeeds(_run(home, "verify", theirs.decision_id), "verified")


def test_verify_of_a_decision_without_a_champion_claims_no_comparison(story: Story) -> None:
    first = next(d for d in list_decisions(story.home)[0] if d.comparison is None)
    result = _run(story.home, "verify", first.decision_id)
    _succeeds(result, "PROMOTE: ", first.decision_hash)
    assert "blocks" not in result.stdout


def _receipt(story: Story) -> Path:
    return story.home.decisions / f"{story.waiting.decision_id}.json"


EDITED: dict[str, Callable[[Path], object]] = {
    "the verdict": lambda path: edit_json(path, {"verdict": "PROMOTE"}),
    "only a newline": lambda path: path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8"),
}
"""Contents that contradict themselves, and bytes that are not those of the contents."""


@pytest.mark.parametrize("case", EDITED)
def test_verify_finds_a_receipt_that_was_edited(story: Story, case: str) -> None:
    EDITED[case](_receipt(story))
    result = _run(story.home, "verify", story.waiting.decision_id)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    lines = result.stdout.splitlines()
    assert lines
    assert story.waiting.decision_hash not in result.stdout


def test_verify_of_a_receipt_that_is_no_receipt_or_not_there_is_one_message(story: Story) -> None:
    _refuses(DecisionNotFoundError, story.home, ["verify", "d-1"], "'d-1'", "taskclf-dagster history")
    _receipt(story).write_text("{", encoding="utf-8")
    _refuses(DecisionNotFoundError, story.home, ["verify", story.waiting.decision_id], story.waiting.decision_id)


# --- reproduce ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["active", "pending"])
def test_reproduce_trains_again_and_shows_equal_trees(told: Story, which: str) -> None:
    model_id = told.champion if which == "active" else told.challenger
    before = contents(told.home.root)
    result = _run(told.home, "reproduce", model_id)
    _succeeds(result, model_id)
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
    ours, again = re.findall(r"^(?:trees|trained now)\s+(\S{64})$", result.stdout, re.M)
    assert ours != again


def test_reproduce_of_a_model_whose_snapshot_is_gone_is_one_message(story: Story) -> None:
    shutil.rmtree(story.home.root / story.waiting.dataset.path)
    _refuses(SnapshotError, story.home, ["reproduce", story.challenger], str(story.home.root / story.waiting.dataset.path))


def test_reproduce_of_a_model_whose_snapshot_was_changed_is_one_message(story: Story) -> None:
    path = story.home.root / story.waiting.dataset.path / "windows" / "part-000.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    _refuses(SnapshotError, story.home, ["reproduce", story.challenger], str(path.parent.parent))


def test_reproduce_of_a_model_of_another_program_says_that_it_cannot_be(registry: Home) -> None:
    _refuses(BundleError, registry, ["reproduce", NEW], "metadata.json")


@pytest.mark.parametrize("command", [["reproduce", UNKNOWN], ["compare", UNKNOWN, UNKNOWN]], ids=["reproduce", "compare"])
def test_an_unknown_model_is_one_message_that_names_it(told: Story, command: list[str]) -> None:
    _refuses(BundleError, told.home, command, UNKNOWN)


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
    assert lines[0].startswith(f"A {told.challenger}: 7 leaves, ")
    assert lines[1].startswith(f"B {told.champion}: 7 leaves, ")
    assert [part for part in (str(document["windows"]), told.waiting.dataset.dataset_hash) if part not in lines[2]] == []
    assert lines[3] == document["comparison"]["exclusion"]["summary"]


def test_compare_prints_every_factor_the_interval_and_the_verdict(compared: tuple[Result, dict]) -> None:
    shown, document = compared
    assert shown.exit_code == 0
    for gate in document["factors"]:
        assert re.search(rf"^{gate['status']}\s+{gate['name']}\s", shown.stdout, re.M), gate["name"]
    low, high = document["comparison"]["evidence"]["interval"]
    assert re.search(rf"95 % .*{low:.3f}\D+{high:.3f}", shown.stdout)
    verdict = document["verdict"].replace("FIRST", "A").replace("SECOND", "B")
    assert f"\n{verdict}: " in shown.stdout


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
    result = _run(told.home, "compare", told.challenger, told.champion, "--config", config, "--json")
    document = json.loads(result.stdout)
    assert (result.exit_code, document["verdict"], document["would_replace"]) == (0, "INCONCLUSIVE", False)


def test_compare_in_a_home_without_a_snapshot_is_one_message(registry: Home) -> None:
    _refuses(RecordNotFoundError, registry, ["compare", NEW, MID], "dataset_snapshot")


def test_compare_with_a_damaged_model_is_one_message_that_names_it(story: Story) -> None:
    folder = find_bundle(story.home, story.challenger)
    assert folder is not None
    (folder / "model.txt").unlink()
    _refuses(BundleError, story.home, ["compare", story.challenger, story.champion, "--config", story.config], str(folder), "model.txt")


# --- Wording ---------------------------------------------------------------------------------------------------------------------------


def test_what_the_commands_print(told: Story, full: Home, tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    """Every command once, and what it says where it refuses."""
    story = told.copy(tmp_path / "story")
    models = {story.challenger: "CHALLENGER", story.champion: "CHAMPION", story.waiting.decision_id: "DECISION"}
    commands: dict[str, tuple[Home, list[str | Path]]] = {
        "verify": (story.home, ["verify", story.waiting.decision_id]),
        "reproduce": (story.home, ["reproduce", story.champion]),
        "compare": (story.home, ["compare", story.challenger, story.champion, "--config", story.config]),
        "compare nothing": (full, ["compare", NEW, MID]),
        "reproduce another's": (full, ["reproduce", NEW]),
        "approve": (story.home, _approving(story)),
        "approve again": (story.home, ["approve", "d-1"]),
        "rollback": (full, ["rollback", "--reason", "worse"]),
        "rollback to the active model": (full, ["rollback", "--to", MID, "--reason", "worse"]),
        "rollback to a blocked model": (full, ["rollback", "--to", NEW, "--reason", "worse"]),
        "rollback to no model": (full, ["rollback", "--to", "../artifacts", "--reason", "worse"]),
        "unblock": (full, ["unblock", NEW, "--reason", "the labels"]),
        "unblock again": (full, ["unblock", NEW, "--reason", "the labels"]),
        "prune dry": (full, ["prune", "--dry-run", "--config", _thrifty(tmp_path)]),
        "prune": (full, ["prune", "--config", _thrifty(tmp_path)]),
        "fsck": (full, ["registry", "fsck"]),
        "repair": (full, ["registry", "repair"]),
    }
    printed = {name: _run(home, *arguments).output for name, (home, arguments) in commands.items()}
    full.active_pointer.write_text("{", encoding="utf-8")
    printed["fsck of damage"] = _run(full, "registry", "fsck").output
    printed["repair of damage"] = _run(full, "registry", "repair").output
    edit_json(_receipt(story), {"verdict": "PROMOTE"})
    printed["verify an edited receipt"] = _run(story.home, "verify", story.waiting.decision_id).output
    assert {name: _without_figures(text, full.root, story.home.root, models) for name, text in printed.items()} == snapshot


def _without_figures(text: str, home: Path, other: Path, names: dict[str, str]) -> str:
    plain = table_words(masked(text, home, other, also=names))
    return re.sub(r"(?<![\w./-])[-+]?\d+(?![\w-])|[-+]?\bN%", "N", plain)
