"""Damaged windows and labels: every reader, command and tick gives a violation or one of our errors, never a traceback."""

import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from taskclf_dagster.cli.main import main
from taskclf_dagster.defs.automation.schedules import evaluate_daily_retrain
from taskclf_dagster.defs.automation.sensors import evaluate_drift_report, evaluate_label_arrival
from taskclf_dagster.defs.resources.inputs import RunSettingsResource
from taskclf_dagster.domain.data.label_store import present_watermark, read_fingerprints, read_label_spans
from taskclf_dagster.domain.data.labeled_windows import label_windows
from taskclf_dagster.domain.data.windows import read_windows
from taskclf_dagster.domain.decision.last_decided import LastDecided, write_last_decided
from taskclf_dagster.domain.retraining.dataset_step import make_labeled_windows
from taskclf_dagster.errors import LabelColumnsError, UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.damaged_tables import LABELS, WINDOWS, Columns, damages
from taskclf_dagster_tests.runs import instance_in
from taskclf_dagster_tests.scenario import (
    DAY,
    MINUTE,
    day_file,
    make_home,
    retrain_config,
    span,
    windows_frame,
    write_labels,
    write_windows,
)

NOW = datetime.now(UTC)
"""The present: `status` and `check-retrain` have no as-of time, so the windows are of yesterday."""

START, END = NOW - 30 * DAY, NOW
BEGIN = NOW.replace(hour=9, minute=0, second=0, microsecond=0) - DAY
CONFIG = retrain_config()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """One user, one day, six labels; a retrain was decided ten days ago on other labels, so that one is due by labels and by cadence."""
    home = make_home(tmp_path_factory.mktemp("whole"))
    write_windows(home, windows_frame(start=BEGIN, n=300))
    write_labels(home, [span(BEGIN + 50 * i * MINUTE, BEGIN + 50 * (i + 1) * MINUTE, "Build", confidence=0.5) for i in range(6)])
    at = NOW - 10 * DAY
    facts = {"outcome": "REJECT", "decided_at": at, "as_of": at, "run_id": "r", "decision_id": "d", "dataset_hash": "0" * 16}
    seen = {"snapshot_path": "artifacts/snapshots/0", "label_watermark": "0" * 16, "trained_at": at}
    write_last_decided(home, LastDecided.model_validate(facts | seen))
    return home


def _copy(whole: Home, folder: Path) -> Home:
    """A fresh copy in the same place each time, because an instance belongs to one home."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole.root, folder)
    return Home(folder)


def _damaged(whole: Home, tmp_path: Path, columns: Columns, names: Collection[str] = ()) -> Iterator[tuple[str, str, Home, Path]]:
    """Yields name and outcome of each damage, or of those of some names, with the home in which it was done and the file."""
    found = damages(columns)
    for name in names or found:
        outcome, damage = found[name]
        home = _copy(whole, tmp_path / "home")
        path = home.labels if columns is LABELS else day_file(home, BEGIN.date())
        damage(path)
        yield name, outcome, home, path


def _read_labels(home: Home) -> list[object]:
    with suppress(LabelColumnsError):  # violations, which the next call returns
        read_fingerprints(home)
    present_watermark(home)
    return read_label_spans(home, start=START, end=END).violations


def _read_windows(home: Home) -> list[object]:
    return read_windows(home, start=START, end=END, schema_version="auto", skip_unreadable_days=False).violations


def _read_both(home: Home) -> list[object]:
    return label_windows(home, as_of=END, settings=CONFIG.dataset).record.violations


def _make_step(home: Home) -> list[object]:
    return make_labeled_windows(home, as_of=END, settings=CONFIG.dataset).violations


READERS: dict[str, tuple[Callable[[Home], list[object]], ...]] = {
    "labels": (_read_labels, _read_both, _make_step),
    "windows": (_read_windows, _read_both, _make_step),
}


@pytest.mark.parametrize(("kind", "columns"), [("labels", LABELS), ("windows", WINDOWS)])
def test_every_reader_finds_each_damage_as_a_violation_or_an_error_that_names_the_file(
    whole: Home, tmp_path: Path, kind: str, columns: Columns
) -> None:
    wrong = []
    for name, outcome, home, path in _damaged(whole, tmp_path, columns):
        for read in READERS[kind]:
            try:
                violations = read(home)
                found = "violation" if violations else "harmless"
                named = all(str(path.relative_to(home.root)) in str(violation) for violation in violations)
            except UnreadableFileError as error:
                found, named = "unreadable", str(path) in str(error)
            except Exception as error:  # what must never come
                found, named = f"{type(error).__name__}: {error}", True
            if found != outcome or not named:
                wrong.append(f"{name}, {read.__name__}: {found}, not {outcome}")
    assert wrong == []


def _ticks(instance: dg.DagsterInstance, home: Home) -> dict[str, Callable[[], object]]:
    settings = RunSettingsResource()
    return {
        "label_arrival": lambda: evaluate_label_arrival(instance, home, settings, cursor=None, now=NOW + timedelta(hours=1)),
        "drift_report": lambda: evaluate_drift_report(instance, home, settings, now=NOW),
        "daily_retrain": lambda: evaluate_daily_retrain(instance, home, settings, scheduled=NOW, now=NOW),
    }


@pytest.fixture
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    with instance_in(tmp_path_factory.mktemp("ticks")) as made:
        yield made


@pytest.mark.parametrize("columns", [LABELS, WINDOWS], ids=["labels", "windows"])
def test_no_tick_fails_for_damaged_data(whole: Home, tmp_path: Path, instance: dg.DagsterInstance, columns: Columns) -> None:
    wrong = []
    for name, outcome, home, path in _damaged(whole, tmp_path, columns):
        for tick, evaluate in _ticks(instance, home).items():
            try:
                answer = evaluate()
            except Exception as error:  # a failed tick
                wrong.append(f"{name}, {tick}: {type(error).__name__}: {error}")
                continue
            if outcome == "unreadable" and tick != "drift_report" and path.name not in str(answer):
                wrong.append(f"{name}, {tick}: {answer} does not name {path.name}")
    assert wrong == []


@pytest.fixture
def dagster_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dagster")
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    return folder


def told_by_commands(columns: Columns) -> tuple[str, ...]:
    """Damages of each kind: commands read with the same functions as the ticks, and differ in how they tell."""
    return (
        f"{columns.text} is a list",
        f"{columns.text} is not UTF-8",
        f"{columns.moment} is beyond every calendar in us",
        f"{columns.number} occurs twice",
        "every column is in one struct",
        "half of the file",
        "a name that is not UTF-8",
        "a folder",
    )


@pytest.mark.parametrize("columns", [LABELS, WINDOWS], ids=["labels", "windows"])
def test_a_command_shows_what_is_damaged_and_names_the_file(whole: Home, tmp_path: Path, dagster_home: Path, columns: Columns) -> None:
    wrong = []
    shell = CliRunner(env={"DAGSTER_HOME": str(dagster_home)})
    for name, outcome, home, path in _damaged(whole, tmp_path, columns, told_by_commands(columns)):
        for command in (("status", "--json"), ("check-retrain",)):
            result = shell.invoke(main, [*command, "--home", str(home.root)])
            if result.exception is not None and not isinstance(result.exception, SystemExit):
                wrong.append(f"{name}, {command}: {type(result.exception).__name__}: {result.exception}")
            elif outcome != "harmless" and str(path.relative_to(home.root)) not in result.output:
                wrong.append(f"{name}, {command}: the file is not named in {result.output}")
    assert wrong == []


@pytest.mark.parametrize(
    ("columns", "name", "says"),
    [
        (LABELS, "label occurs four times", "columns_are_complete_and_typed"),
        (LABELS, "a folder", "labels.parquet"),
        (WINDOWS, "keys_per_min is nested", "columns_are_complete_and_typed"),
        (WINDOWS, "a name that is not UTF-8", "features.parquet"),
    ],
)
def test_a_retrain_ends_with_the_damage_as_its_reason(
    whole: Home, tmp_path: Path, dagster_home: Path, columns: Columns, name: str, says: str
) -> None:
    home = _copy(whole, tmp_path / "home")
    damages(columns)[name][1](home.labels if columns is LABELS else day_file(home, BEGIN.date()))
    result = CliRunner(env={"DAGSTER_HOME": str(dagster_home)}).invoke(main, ["retrain", "--home", str(home.root)])
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert says in result.output
