"""The study of settings: the figures are those of a retrain with the same settings, and nothing is written."""

from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from taskclf_dagster.cli.main import main
from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.retraining.study import SETTINGS, Study, study_settings
from taskclf_dagster.home import Home
from taskclf_dagster_tests.retrain_scenario import FAST, judge_challenger, take_snapshot, train_challenger
from taskclf_dagster_tests.scenario import AS_OF, DAY, learnable_home, retrain_config

CONFIG = retrain_config(train_params=FAST, min_class_windows=1, data_lookback_days=4)


@pytest.fixture(autouse=True)
def _few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    for changes in SETTINGS.values():
        if isinstance(params := changes.get("train_params"), dict):
            monkeypatch.setitem(params, "num_boost_round", 10)


def study(home: Home, *, config: RetrainConfig = CONFIG, days: tuple[int, ...] = (0,)) -> Study:
    clock = iter(range(1_000))
    return study_settings(home, [AS_OF - day * DAY for day in days], config=config, cores=1, cpu_clock=lambda: float(next(clock)))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Seven days, four of which are split; not to be written into."""
    return learnable_home(tmp_path_factory.mktemp("studied"), users=1, days=7)


@pytest.mark.parametrize("search", ["off", "auto"])
def test_the_last_row_has_the_figures_of_a_retrain_with_this_configuration(home: Home, tmp_path: Path, search: str) -> None:
    config = CONFIG.with_changes(search=search)
    found = study(home, config=config)
    other = learnable_home(tmp_path, users=1, days=7)
    snapshot = take_snapshot(other, config)[0]
    challenger = train_challenger(other, snapshot, config)
    report = judge_challenger(other, snapshot, challenger, config)[0]
    assert report.report is not None
    assert report.lookup_baseline is not None
    last = found.settings[-1]
    assert last.macro_f1 == [report.report.macro_f1]
    assert last.reject_rate == [report.report.reject_rate]
    assert last.learned == [challenger.training_windows]
    assert found.lookup == [report.lookup_baseline.baseline]
    assert found.test_windows == [snapshot.rows["test"]]
    assert (last.detail == "") is (search == "off")


def test_every_row_changes_what_its_name_says(home: Home) -> None:
    found = study(home)
    assert [each.name for each in found.settings] == list(SETTINGS)
    own, refit, small, older, small_older, constant, _ = (each.learned[0] for each in found.settings)
    assert own < refit == small < small_older == constant
    assert own < older < small_older
    assert found.settings[0].cpu == [1.0]
    assert len({each.macro_f1[0] for each in found.settings}) > 3


def test_dates_without_enough_labels_are_skipped_with_the_reason(home: Home) -> None:
    found = study(home, days=(0, 6, 300))
    assert found.dates == [AS_OF]
    assert [len(each.macro_f1) for each in found.settings] == [1] * len(SETTINGS)
    assert set(found.skipped) == {f"{AS_OF - day * DAY:%Y-%m-%d %H:%M}" for day in (6, 300)}
    assert all(found.skipped.values())
    assert study(home, days=(300,)).settings == []


def test_the_command_prints_a_row_for_each_settings_and_writes_nothing(home: Home, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("data_lookback_days: 4\ntrain_params: {num_boost_round: 3}\nsearch: 'off'\n", encoding="utf-8")
    before = sorted(home.root.rglob("*"))
    options = [str(home.root), "--config", str(tmp_path / "own.yaml"), "--as-of", f"{AS_OF + timedelta(hours=1):%Y-%m-%dT%H:%M}"]
    several = CliRunner().invoke(main, ["study", *options, "--dates", "2", "--every", "1"])
    assert several.exit_code == 0, several.output
    for name in ("31 leaves", "small trees, refit, older labels", "your configuration", "lookup table of the app", "better at", "2 dates"):
        assert name in several.output
    assert "was trained in this process" not in several.output
    with (tmp_path / "own.yaml").open("a", encoding="utf-8") as file:
        file.write("execution: {engine: dask, scheduler_address: 'tcp://127.0.0.1:9'}\n")
    assert "was trained in this process" in CliRunner().invoke(main, ["study", *options]).output
    as_json = CliRunner().invoke(main, ["study", *options, "--json"])
    assert Study.model_validate_json(as_json.stdout).settings[-1].name == "your configuration"
    nothing = CliRunner().invoke(main, ["study", str(home.root), "--as-of", "2020-01-01"])
    assert nothing.exit_code == 1
    assert "nothing to train on" in nothing.output
    assert sorted(home.root.rglob("*")) == before
