"""What a person sees of a record: tables, numbers that are plotted, and gates as checks."""

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from taskclf_dagster.defs.display import metadata, model_metadata
from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.decision.comparative_gates import check_regression_gates
from taskclf_dagster.domain.decision.gate import RegressionGate, Status
from taskclf_dagster.domain.evaluation.metrics import EvaluationReport, evaluate
from taskclf_dagster_tests.scenario import retrain_config


def _gate(status: Status = "PASS", observed: float | None = 0.7, threshold: float | tuple[float, float] | None = 0.65) -> RegressionGate:
    return RegressionGate(
        name="macro_f1", kind="candidate", status=status, observed=observed, threshold=threshold, unit="F1", detail="0.7000 >= 0.65"
    )


def _report(model_id: str = "m-1", *, right: float = 0.75, n: int = 40) -> EvaluationReport:
    """n windows of each label; the model is right on the first share of each, and takes the rest for the next label."""
    true = np.repeat(np.arange(8), n)
    rank = np.tile(np.arange(n), 8)
    named = np.where(rank < right * n, true, (true + 1) % 8)
    probabilities = np.full((len(true), 8), 0.2 / 7)
    probabilities[np.arange(len(true)), named] = 0.8
    return _evaluate(true, probabilities, model_id=model_id)


def _evaluate(true: np.ndarray, probabilities: np.ndarray, *, model_id: str = "m-1", min_class_windows: int = 30) -> EvaluationReport:
    """Every other window is alice's, the others are bob's, who was held out."""
    n = len(true)
    rows = pd.DataFrame(
        {
            "user_id": pd.Categorical(np.where(np.arange(n) % 2 == 0, "alice", "bob")),
            "session_id": pd.Categorical(["s"] * n),
            "bucket_start_ts": pd.date_range("2026-01-05", periods=n, freq="min", tz="UTC"),
        }
    )
    judging = {"reject_threshold": 0.5, "min_class_windows": min_class_windows, "unseen_users": ["bob"]}
    return evaluate(rows, true, probabilities, model_id=model_id, schema_version="v1", **judging)[0]


@pytest.fixture(scope="module")
def report() -> EvaluationReport:
    return _report()


def _rows(value: object) -> list[dict[str, object]]:
    assert isinstance(value, dg.TableMetadataValue)
    return [dict(record.data) for record in value.records]


# --- Tables ---------------------------------------------------------------------------------------------------------------------


def test_a_table_has_the_columns_of_its_first_row_with_their_kinds() -> None:
    value = metadata.table([{"name": "a", "n": 1, "share": 0.5, "yes": True}, {"name": "b", "n": 2, "share": 1, "yes": False}])
    assert [(column.name, column.type) for column in value.schema.columns] == [
        ("name", "string"),
        ("n", "int"),
        ("share", "float"),
        ("yes", "bool"),
    ]
    assert _rows(value)[1] == {"name": "b", "n": 2, "share": 1, "yes": False}


def test_a_missing_figure_is_shown_as_text_not_as_a_number() -> None:
    value = metadata.table([{"f1": None}, {"f1": 0.5}])
    assert value.schema.columns[0].type == "string"
    assert [row["f1"] for row in _rows(value)] == ["None", "0.5"]


def test_a_table_without_rows_says_none() -> None:
    assert metadata.table([]) == dg.MetadataValue.text("none")


def test_the_columns_of_a_snapshot_tell_model_inputs_from_identity_and_explain_the_added_ones() -> None:
    schema = metadata.column_schema("v1", {"label": "one of the eight labels"})
    columns = {column.name: column for column in schema.columns}
    assert columns["keys_per_min"].description == "model input"
    assert columns["session_id"].description == "identity"
    assert columns["label"].description == "one of the eight labels"
    assert (columns["app_id"].type, columns["is_editor"].type) == ("str", "bool")
    assert len(schema.columns) == len(columns)  # no column twice
    assert {column.name for column in metadata.column_schema("v3", {}).columns} > set(columns) - {"label"}


def test_a_class_distribution_has_one_row_a_label_and_the_sum() -> None:
    train, test = ({label: scale * i for i, label in enumerate(LABELS)} for scale in (10, 1))
    rows = _rows(metadata.class_distribution_table({"train": train, "test": test}))
    assert [row["label"] for row in rows] == list(LABELS)
    assert rows[3] == {"label": LABELS[3], "train": 30, "test": 3, "all": 33}


def test_per_class_figures_are_rounded_and_an_undefined_one_is_a_dash() -> None:
    few = _evaluate(np.array([0]), np.eye(8)[[0]], min_class_windows=1)
    rows = {row["label"]: row for row in _rows(model_metadata.per_class_table(few))}
    assert rows["BreakIdle"] == {
        "label": "BreakIdle",
        "precision": "1.0000",
        "recall": "1.0000",
        "f1": "1.0000",
        "windows": 1,
        "predicted": 1,
        "judged": True,
    }
    assert (rows["Write"]["precision"], rows["Write"]["recall"], rows["Write"]["judged"]) == ("-", "-", False)


def test_per_user_figures_tell_who_was_in_training(report: EvaluationReport) -> None:
    rows = {row["user"]: row for row in _rows(model_metadata.per_user_table(report))}
    assert (rows["alice"]["windows"], rows["alice"]["seen in training"]) == (160, True)
    assert (rows["bob"]["windows"], rows["bob"]["seen in training"]) == (160, False)
    assert rows["alice"]["macro_f1"] == "0.7500"


def test_the_gate_table_shows_verdict_figure_and_threshold() -> None:
    rows = _rows(metadata.gate_table([_gate(), _gate("FAIL", 0.4, (0.05, 0.3)), _gate("INCONCLUSIVE", None, None)]))
    assert [(row["verdict"], row["observed"], row["needed"]) for row in rows] == [
        ("PASS", "0.7000", "at least 0.65"),
        ("FAIL", "0.4000", "0.05..0.3"),
        ("INCONCLUSIVE", "-", "-"),
    ]
    assert rows[0]["gate"] == "macro f1"


def test_what_is_only_known_on_all_test_windows_says_so_and_stands_beside_each_other() -> None:
    rows = {row["on all 320 test windows"]: row for row in _rows(model_metadata.all_windows_table(_report(right=0.75), _report(right=0.5)))}
    assert list(rows) == ["reject rate", "calibration error", "log loss", "flap rate, smoothed"]
    assert rows["log loss"]["change"].startswith("-")


def test_without_a_champion_its_column_is_dashes(report: EvaluationReport) -> None:
    rows = _rows(model_metadata.all_windows_table(report, None))
    assert {row["champion"] for row in rows} == {"-"}
    assert {row["change"] for row in rows} == {"-"}
    assert "-" not in {row["challenger"] for row in rows}


def test_a_figure_has_four_decimals(report: EvaluationReport) -> None:
    assert metadata.plotted(macro_f1=2 / 3) == {"macro_f1": 0.6667}
    assert metadata.gate_check(_gate("PASS", 2 / 3, 0.65)).metadata["observed"].value == 0.6667


def test_an_upper_bound_is_shown_as_one() -> None:
    gate = _gate("PASS", 0.004, 0.01).model_copy(update={"name": "negative_flips"})
    assert metadata.format_needed(gate) == "at most 0.01"


@pytest.mark.parametrize("name", ["beats_rule_baseline", "beats_lookup_baseline"])
def test_a_bound_that_must_be_exceeded_is_shown_as_one(name: str) -> None:
    gate = _gate("PASS", 0.7, 0.65)
    assert metadata.format_needed(gate.model_copy(update={"name": name})) == "above 0.65"


@pytest.mark.parametrize(("evidence_policy", "direction"), [("point", "at least "), ("hold", "above "), ("superior", "above ")])
def test_the_bound_of_no_regression_must_be_exceeded_if_the_interval_is_judged(evidence_policy: str, direction: str) -> None:
    settings = retrain_config(evidence_policy=evidence_policy).comparison
    no_champion = {"champion_state": "none", "champion_reason": "", "anchors": [], "rolled_back_as": None}
    result = check_regression_gates(None, **no_champion, history_damaged=False, bootstrap=False, settings=settings)
    shown = metadata.format_needed(next(gate for gate in result.gates if gate.name == "macro_f1_no_regression"))
    assert shown.startswith(direction)


def test_a_figure_that_is_missing_is_not_plotted_as_zero() -> None:
    assert metadata.plotted(macro_f1=0.5, unseen_user_f1=None) == {"macro_f1": 0.5}


# --- Gates as checks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "green"), [("PASS", True), ("NOT_APPLICABLE", True), ("FAIL", False), ("INCONCLUSIVE", False), ("ERROR", False)]
)
def test_a_gate_is_a_green_check_only_where_it_passes_or_does_not_apply(status: Status, green: bool) -> None:
    result = metadata.gate_check(_gate(status))
    assert result.passed is green
    assert result.severity == dg.AssetCheckSeverity.ERROR
    assert result.check_name == "macro_f1"
    assert (result.description or "").startswith(f"{status}: ")
    assert result.metadata["verdict"].value == status


def test_numbers_of_a_gate_stay_numbers_so_that_they_can_be_plotted() -> None:
    result = metadata.gate_check(_gate())
    assert (result.metadata["observed"], result.metadata["threshold"]) == (dg.FloatMetadataValue(0.7), dg.FloatMetadataValue(0.65))
    assert result.metadata["unit"].value == "F1"


def test_a_range_becomes_two_numbers_and_what_is_missing_is_left_out() -> None:
    ranged = metadata.gate_check(_gate(threshold=(0.05, 0.3))).metadata
    assert (ranged["threshold_low"].value, ranged["threshold_high"].value) == (0.05, 0.3)
    assert set(metadata.gate_check(_gate("INCONCLUSIVE", None, None)).metadata) == {"verdict", "unit"}


def test_a_gate_carries_what_belongs_to_it_beside_its_own_figures() -> None:
    result = metadata.gate_check(_gate(), more={"flips": dg.MetadataValue.text("none")})
    assert result.metadata["flips"].value == "none"
    assert result.metadata["verdict"].value == "PASS"
