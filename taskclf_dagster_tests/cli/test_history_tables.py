"""Retrains and pointer changes as CSV and parquet: one row each, typed columns, times in UTC."""

import csv
import io
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from taskclf_dagster.cli.history_tables import METRICS, MOVE_COLUMNS, RETRAIN_COLUMNS, tabulate_moves, tabulate_retrains, write_csv
from taskclf_dagster.cli.main import main
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.home import Home
from taskclf_dagster.status.records import Retrain
from taskclf_dagster_tests.models import NEW, OLD
from taskclf_dagster_tests.registry_scenario import promoted, set_active
from taskclf_dagster_tests.scenario import make_home

BEGAN = datetime(2026, 2, 4, 7, 0, 0, 250_000, tzinfo=timezone(timedelta(hours=1)))
WHOLE = Retrain(
    run_id="run-1",
    decision_id="2026-02-04_060000_1f0c9a3e",
    status="completed",
    outcome="REJECT",
    cause="schedule",
    started=BEGAN,
    finished=BEGAN + timedelta(seconds=41.5),
    previous_version=OLD,
    challenger=NEW,
    labels=960,
    metrics_before={"macro_f1": 0.7, "weighted_f1": None, "accuracy": 0.75},
    metrics_after={"macro_f1": 0.6, "weighted_f1": 0.625, "accuracy": 0.5},
    compared_windows=400,
    reason='Failed: "macro_f1"\n=HYPERLINK("http://x"), naïve',
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return promoted(make_home(tmp_path), OLD, NEW)


def history(home: Home, *options: object) -> Result:
    instance = home.root.parent / "instance"
    instance.mkdir(exist_ok=True)
    (instance / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    return CliRunner(env={"DAGSTER_HOME": str(instance)}).invoke(main, ["history", "--home", str(home.root), *map(str, options)])


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_retrain_is_a_row_with_its_metrics_flat_and_its_times_in_utc() -> None:
    (row,) = tabulate_retrains([WHOLE]).to_pylist()
    assert list(row) == list(RETRAIN_COLUMNS)
    assert (row["started"], row["seconds"]) == (datetime(2026, 2, 4, 6, 0, 0, 250_000, tzinfo=UTC), 41.5)
    assert (row["before_macro_f1"], row["before_weighted_f1"], row["after_accuracy"], row["labels"]) == (0.7, None, 0.5, 960)
    assert (row["new_version"], row["moved"], row["error"]) == (None, None, None)


def test_columns_have_the_same_types_without_a_value() -> None:
    empty = Retrain(status="running")
    assert (
        tabulate_retrains([empty]).schema == tabulate_retrains([WHOLE]).schema == tabulate_retrains([]).schema == pa.schema(RETRAIN_COLUMNS)
    )


def test_every_field_of_a_retrain_and_every_metric_is_a_column(home: Home) -> None:
    fields = set(Retrain.model_fields) - {"metrics_before", "metrics_after"}
    assert fields <= set(RETRAIN_COLUMNS)
    assert set(RETRAIN_COLUMNS) - fields == {"seconds", *(f"{prefix}_{name}" for prefix in ("before", "after") for name in METRICS)}


def test_csv_keeps_each_row_on_a_line_and_gives_a_spreadsheet_nothing_to_compute() -> None:
    text = write_csv(tabulate_retrains([WHOLE.model_copy(update={"error": "=1+1"}), WHOLE]))
    assert len(text.splitlines()) == 3
    first, second = rows_of(text)
    assert first["error"] == "'=1+1"
    assert second["reason"] == 'Failed: "macro_f1"\\u000a=HYPERLINK("http://x"), naïve'
    assert (second["started"], second["after_weighted_f1"], second["before_weighted_f1"]) == (
        "2026-02-04T06:00:00.250000+00:00",
        "0.625",
        "",
    )


def test_parquet_and_csv_have_the_same_rows_and_every_one_of_them(home: Home, tmp_path: Path) -> None:
    files = tmp_path / "history.csv", tmp_path / "history.parquet"
    assert history(home, "--csv", files[0], "--parquet", files[1]).exit_code == 0
    table = pq.read_table(files[1])
    assert table.schema.equals(pa.schema(RETRAIN_COLUMNS))
    found = [duckdb.sql(f"select challenger, moved from '{file}' order by moved").fetchall() for file in files]  # noqa: S608  # our own path
    assert found[0] == found[1] == [(OLD, 1), (NEW, 2)]


def test_csv_goes_to_standard_output_and_the_limit_counts(home: Home) -> None:
    result = history(home, "--csv", "-", "--limit", "1")
    assert (result.exit_code, result.stderr) == (0, "")
    assert len(rows_of(result.stdout)) == 1


def test_the_changes_of_the_model_are_a_table_too_with_those_of_other_programs(home: Home) -> None:
    set_active(home, OLD)
    rows = rows_of(history(home, "--moves", "--csv", "-").stdout)
    assert [(row["sequence"], row["action"], row["old_model"], row["new_model"]) for row in rows] == [
        ("", "", NEW, OLD),
        ("2", "promote", OLD, NEW),
        ("1", "promote", "", OLD),
    ]
    assert tabulate_moves(read_history(home).moves).schema == pa.schema(MOVE_COLUMNS)
    assert "retrain" not in history(home, "--moves").stdout


def test_what_cannot_be_done_is_said(home: Home, tmp_path: Path) -> None:
    nowhere = history(home, "--csv", tmp_path / "no folder" / "x.csv")
    assert (nowhere.exit_code, str(tmp_path / "no folder") in nowhere.stderr) == (1, True)
    for option in ("--csv", "--parquet"):
        folder = history(home, option, tmp_path)
        assert (folder.exit_code, "is a folder" in folder.stderr) == (1, True), option
    dash = history(home, "--parquet", "-")
    assert (dash.exit_code, "--csv -" in dash.stderr, Path("-").exists()) == (2, True, False)
    both = history(home, "--json", "--csv", "-")
    assert (both.exit_code, "--csv" in both.stderr) == (2, True)
