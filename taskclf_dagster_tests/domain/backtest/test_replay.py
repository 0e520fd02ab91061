"""Policies replayed over a real small home, with real fits."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.backtest import shared_fits
from taskclf_dagster.domain.backtest.policies import Policy, list_policies
from taskclf_dagster.domain.backtest.replay import ReplayedTime, replay_policies
from taskclf_dagster.domain.backtest.replay_record import PolicyFigures, Replay
from taskclf_dagster.domain.reporting.replay_report import describe_replay
from taskclf_dagster.domain.reporting.report_document import render_report
from taskclf_dagster.errors import ReplayRangeError
from taskclf_dagster.home import Home
from taskclf_dagster.progress import Progress
from taskclf_dagster_tests.backtest_scenario import open_workshop
from taskclf_dagster_tests.scenario import AS_OF, DAY, learnable_home, retrain_config

QUICK = {"train_params": {"num_boost_round": 6}, "search": "off", "data_lookback_days": 14, "min_class_windows": 15, "min_windows": 50}
PRESENT = retrain_config(**QUICK)
SPAN = ReplayedTime(AS_OF - 5 * DAY, AS_OF, ZoneInfo("UTC"))
STRICT = Policy("strict", "gates", PRESENT.with_changes(auto_promote=True, prove_reproducible=False, min_improvement=0.5))


@dataclass(frozen=True)
class Replayed:
    """A home, what its files were before, and the replay of all policies."""

    home: Home
    before: dict[str, str]
    found: Replay

    def policy(self, name: str) -> PolicyFigures:
        return next(policy for policy in self.found.policies if policy.name == name)


def _files(home: Home) -> dict[str, str]:
    paths = [path for path in home.root.rglob("*") if path.is_file() and home.backtest not in path.parents]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def _policies(config: RetrainConfig = PRESENT) -> list[Policy]:
    return [*list_policies(config), STRICT]


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Replayed:
    home = learnable_home(tmp_path_factory.mktemp("replayed"), users=1, days=12)
    before = _files(home)
    return Replayed(home, before, replay_policies(open_workshop(home), _policies(), SPAN, present=PRESENT))


def test_nothing_of_the_home_changes_but_the_folder_of_shared_results(replayed: Replayed) -> None:
    assert _files(replayed.home) == replayed.before
    assert not replayed.home.models.exists()
    assert sorted(path.name for path in replayed.home.backtest.iterdir()) == ["datasets", "fits"]


def test_never_keeps_the_first_model_that_the_present_policy_promotes(replayed: Replayed) -> None:
    never, present = replayed.policy("never"), replayed.policy("present")
    assert (len(never.decisions), never.promotions) == (1, [])
    assert never.decisions[0].model_id is not None
    assert never.first_model_at == present.first_model_at
    assert {day.model_id for day in never.days} == {never.decisions[0].model_id}


def test_always_promotes_every_challenger(replayed: Replayed) -> None:
    always = replayed.policy("always")
    assert len(always.decisions) >= 5
    assert all(decision.promoted for decision in always.decisions)
    assert len(always.promotions) == len(always.decisions) - 1


def test_a_policy_that_asks_for_much_more_promotes_the_first_model_and_no_other(replayed: Replayed) -> None:
    strict = replayed.policy("strict")
    assert strict.changes == {"min_improvement": 0.5}
    assert strict.promotions == []
    assert {decision.outcome for decision in strict.decisions[1:]} <= {"REJECT", "HOLD"}
    assert all("min_improvement" in decision.failed for decision in strict.decisions[1:])


def test_every_policy_is_measured_on_the_labels_of_the_same_days(replayed: Replayed) -> None:
    found = replayed.found
    assert found.labeled_windows == 5 * 160
    assert found.user_days == 5
    assert len(found.judged_labels) == 8
    for policy in found.policies:
        assert [day.day for day in policy.days] == [(SPAN.first + number * DAY).date() for number in range(5)]
        assert policy.windows == sum(day.windows for day in policy.days)
    assert replayed.policy("present").difference is None
    assert replayed.policy("never").compared_windows == 5 * 160
    assert (replayed.policy("present").macro_f1 or 0) > 0.5


def test_policies_share_datasets_and_fits(replayed: Replayed) -> None:
    fits = sum(policy.fits for policy in replayed.found.policies)
    kept = list((replayed.home.backtest / "fits").iterdir())
    assert len(kept) < fits / 2
    own = [path for path in kept if path.is_dir()]
    trained = {replayed.policy("present").fits, replayed.policy("original").fits}
    assert len(own) == sum(trained)


def test_a_second_replay_trains_nothing_and_finds_the_same(replayed: Replayed, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("it was trained before")

    monkeypatch.setattr(shared_fits, "build_challenger", refuse)
    again = replay_policies(open_workshop(replayed.home), _policies(), SPAN, present=PRESENT)
    without_cost = {"policies": {"__all__": {"cpu_seconds"}}}
    assert again.model_dump(exclude=without_cost) == replayed.found.model_dump(exclude=without_cost)


def test_a_damaged_fit_is_trained_again(replayed: Replayed) -> None:
    fits = {model: model.read_bytes() for model in (replayed.home.backtest / "fits").rglob("model.txt")}
    for model, whole in fits.items():
        model.unlink()
        model.write_bytes(re.sub(rb"leaf_value=\S+", b"leaf_value=99", whole))
    try:
        trained = list_policies(PRESENT, names=["present", "original"])  # all others share the fits of these
        again = replay_policies(open_workshop(replayed.home), trained, SPAN, present=PRESENT)
    finally:
        for model, whole in fits.items():
            model.write_bytes(whole)
    assert [policy.macro_f1 for policy in again.policies] == [replayed.policy(policy.name).macro_f1 for policy in again.policies]


def test_a_replay_that_is_interrupted_leaves_what_it_has_for_the_next_one(tmp_path: Path) -> None:
    home, looked = learnable_home(tmp_path, users=1, days=12), list[Progress]()

    def interrupt(progress: Progress) -> None:
        looked.append(progress)
        if progress.done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replay_policies(open_workshop(home), _policies()[:1], SPAN, present=PRESENT, on_progress=interrupt)
    assert len(list((home.backtest / "fits").iterdir())) >= 2
    assert [path.name for path in home.backtest.iterdir() if path.name.startswith(".")] == []
    assert [progress.done for progress in looked] == [0, 1, 2, 3, 4]


def test_fits_that_other_processes_train_ahead_are_the_same(replayed: Replayed, tmp_path: Path) -> None:
    home = learnable_home(tmp_path, users=1, days=12)
    found = replay_policies(open_workshop(home), _policies()[:2], SPAN, present=PRESENT, workers=2)
    for policy in found.policies:
        assert policy.decisions == replayed.policy(policy.name).decisions
        assert policy.macro_f1 == replayed.policy(policy.name).macro_f1


def test_a_home_whose_windows_are_elsewhere_is_replayed_as_one_whose_windows_are_in_it(replayed: Replayed, tmp_path: Path) -> None:
    home, elsewhere = learnable_home(tmp_path / "home", users=1, days=12), tmp_path / "elsewhere"
    elsewhere.mkdir()
    home.features("v1").rename(elsewhere / "features_v1")
    home.settings_file.write_text(f"home: {{features_url: 'file://{elsewhere}'}}", encoding="utf-8")
    never = list_policies(PRESENT, names=["never"])
    found = replay_policies(open_workshop(home), never, SPAN, present=PRESENT)
    assert found.policies[0].decisions == replayed.policy("never").decisions
    assert found.policies[0].macro_f1 == replayed.policy("never").macro_f1


def test_days_that_hold_nothing_are_refused_with_a_reason(replayed: Replayed) -> None:
    workshop = open_workshop(replayed.home)
    for first, last in ((AS_OF, AS_OF - DAY), (AS_OF + 20 * DAY, AS_OF + 30 * DAY)):
        with pytest.raises(ReplayRangeError):
            replay_policies(workshop, _policies(), ReplayedTime(first, last, ZoneInfo("UTC")), present=PRESENT)


def test_the_report_has_every_policy_with_a_picture_and_is_the_same_each_time(replayed: Replayed) -> None:
    html = render_report(describe_replay(replayed.found))
    assert html == render_report(describe_replay(Replay.model_validate_json(replayed.found.model_dump_json())))
    for policy in replayed.found.policies:
        assert policy.name in html
        assert (f"Macro-F1 of {policy.name} day by day" in html) is (policy.windows > 0)
    assert "A label counts as known from the end of its span" in html
