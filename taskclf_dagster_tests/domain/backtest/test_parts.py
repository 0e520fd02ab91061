"""The parts of a replay: labels as they were known, looks, policies, the original's rule, and what is kept for the next replay."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow.parquet as pq
import pytest

from taskclf_dagster.domain.backtest.content_store import ENTRY, ContentStore
from taskclf_dagster.domain.backtest.known_labels import KnownLabels
from taskclf_dagster.domain.backtest.looks import Look, plan_looks
from taskclf_dagster.domain.backtest.original_rule import judge_originally
from taskclf_dagster.domain.backtest.policies import list_policies
from taskclf_dagster.domain.data.feature_schema import BREAK_IDLE, LABELS
from taskclf_dagster.domain.evaluation.confusion import REJECTED, count_predictions
from taskclf_dagster.errors import LabelColumnsError, PolicyError, SettingsError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.scenario import DAY, MINUTE, at, make_home, retrain_config, span, write_labels

UTC_ZONE = ZoneInfo("UTC")

# --- Labels -----------------------------------------------------------------------------------------------------------------------


def test_a_label_is_known_from_the_end_of_its_span_and_not_before(tmp_path: Path) -> None:
    source, home = make_home(tmp_path), make_home(tmp_path / "replayed")
    write_labels(source, [span(at("09:00"), at("09:30"), "Build"), span(at("09:30"), at("10:00"), "Debug")])
    labels = KnownLabels(source)
    labels.write(home, at("09:30") - timedelta(seconds=1))
    assert pq.read_table(home.labels).num_rows == 0
    labels.write(home, at("09:30"))
    assert pq.read_table(home.labels).column("label").to_pylist() == ["Build"]
    labels.write(home, at("10:00"))
    assert pq.read_table(home.labels).equals(pq.read_table(source.labels))


@pytest.mark.parametrize("storage", [{"unit": "ns"}, {"unit": "ms"}, {"tz": None}])
def test_the_ends_of_labels_are_read_whatever_the_type_of_the_times(tmp_path: Path, storage: dict[str, object]) -> None:
    home = make_home(tmp_path)
    write_labels(home, [span(at("09:00"), at("09:30"), "Build"), span(at("09:00", day=1), at("09:30", day=1), "Debug")], **storage)
    assert KnownLabels(home).list_ends(at("00:00"), at("23:00")) == [at("09:30")]


def test_a_label_store_without_ends_is_refused(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_labels(home, [span(at("09:00"), at("09:30"), "Build")], without=["end_ts"])
    with pytest.raises(LabelColumnsError, match="end_ts"):
        KnownLabels(home)


# --- Looks ------------------------------------------------------------------------------------------------------------------------


def test_the_schedule_looks_at_its_ticks_and_the_sensor_after_the_last_label_of_each_day() -> None:
    config = retrain_config(label_quiet_minutes=20)
    ends = [at("09:30"), at("17:00"), at("11:00", day=1)]
    looks = plan_looks(config, ends, first=at("00:00"), last=at("12:00", day=1), zone=UTC_ZONE)
    quiet = 20 * MINUTE
    assert looks == [
        Look(at("06:00"), "schedule"),
        Look(at("17:00") + quiet, "labels"),
        Look(at("06:00", day=1), "schedule"),
        Look(at("11:00", day=1) + quiet, "labels"),
    ]


def test_ticks_and_days_are_those_of_the_time_zone() -> None:
    looks = plan_looks(retrain_config(), [at("23:30")], first=at("00:00"), last=at("23:59", day=1), zone=ZoneInfo("Europe/Vienna"))
    assert [look.at for look in looks if look.by == "schedule"] == [at("05:00"), at("05:00", day=1)]
    evening = plan_looks(retrain_config(), [at("22:30"), at("23:30")], first=at("00:00"), last=at("23:59"), zone=ZoneInfo("Europe/Vienna"))
    assert [look.at for look in evening if look.by == "labels"] == [at("22:40"), at("23:40")]  # 23:30 in Vienna, and half past midnight


def test_schedule_and_sensor_look_on_every_nth_day() -> None:
    ends = [at("12:00", day=number) for number in range(7)]
    looks = plan_looks(retrain_config(), ends, first=at("00:00"), last=at("23:00", day=6), zone=UTC_ZONE, every=3)
    assert [(look.at.date(), look.by) for look in looks] == [
        (at("00:00", day=number).date(), by) for number in (0, 3, 6) for by in ("schedule", "labels")
    ]


# --- Policies ---------------------------------------------------------------------------------------------------------------------


def test_a_file_is_a_policy_over_the_present_configuration_and_is_compared_with_the_built_in_ones(tmp_path: Path) -> None:
    path = tmp_path / "stricter.yaml"
    path.write_text("evidence_policy: superior\ngates: {min_macro_f1: 0.8}\n", encoding="utf-8")
    present = retrain_config(data_lookback_days=21)
    policies = list_policies(present, [path])
    assert [policy.name for policy in policies] == ["present", "never", "always", "original", "stricter"]
    config = policies[-1].config
    assert (config.comparison.evidence_policy, config.evaluation.gates.min_macro_f1, config.data_lookback_days) == ("superior", 0.8, 21)
    assert config.evaluation.gates.min_weighted_f1 == present.evaluation.gates.min_weighted_f1
    assert all(policy.config.auto_promote and policy.config.training.prove_reproducible is False for policy in policies)


def test_only_the_built_in_policies_that_are_named_take_part() -> None:
    assert [policy.rule for policy in list_policies(retrain_config(), names=["always", "present"])] == ["always", "gates"]


def test_the_original_trains_as_taskclf_does_and_by_cadence_alone() -> None:
    (original,) = list_policies(retrain_config(), names=["original"])
    assert (original.config.train_params.num_leaves, original.config.training.refit) == (31, False)
    assert original.config.scheduling.min_new_labels == 100_000


def test_what_is_no_policy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="sometimes"):
        list_policies(retrain_config(), names=["sometimes"])
    path = tmp_path / "never.yaml"
    path.write_text("auto_promote: true\n", encoding="utf-8")
    with pytest.raises(PolicyError, match="two policies"):
        list_policies(retrain_config(), [path])
    path.write_text("min_macro_f1: 0.8\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="min_macro_f1: unknown key"):
        list_policies(retrain_config(), [path])


# --- The rule of the original -----------------------------------------------------------------------------------------------------


def _judge(predicted: np.ndarray) -> list[str]:
    true = np.repeat(np.arange(len(LABELS)), 100)
    return judge_originally(count_predictions(true, predicted), retrain_config())


def test_a_model_that_rejects_a_tenth_of_each_label_passes_the_original_checks() -> None:
    predicted = np.repeat(np.arange(len(LABELS)), 100)
    predicted[::10] = REJECTED
    assert _judge(predicted) == []


def test_the_original_refuses_a_model_that_rejects_nothing_however_good_it_is() -> None:
    assert _judge(np.repeat(np.arange(len(LABELS)), 100)) == ["reject rate 0.0000 outside [0.05, 0.3]"]


def test_the_original_counts_a_label_that_is_never_predicted_as_precision_0() -> None:
    predicted = np.repeat(np.arange(len(LABELS)), 100)
    predicted[::10] = REJECTED
    predicted[predicted == LABELS.index("Meet")] = REJECTED
    assert "lowest precision 0.0000 < 0.5" in _judge(predicted)
    predicted[predicted == LABELS.index(BREAK_IDLE)] = LABELS.index("Build")
    assert {"BreakIdle precision 0.0000 < 0.95", "BreakIdle recall 0.0000 < 0.9"} <= set(_judge(predicted))


# --- Kept results -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path: Path) -> tuple[ContentStore, Home, Path]:
    home = make_home(tmp_path)
    file = home.artifacts / "snapshots" / "one.bin"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"content")
    store = ContentStore(home.backtest / "datasets")
    store.add("key", {"value": 1.5}, home, [file])
    return store, home, file


def test_a_kept_entry_appears_in_another_home_under_the_same_path(kept: tuple[ContentStore, Home, Path], tmp_path: Path) -> None:
    store, home, file = kept
    other = make_home(tmp_path / "other")
    assert store.read("key") == {"value": 1.5}
    store.link("key", other)
    assert (other.root / file.relative_to(home.root)).read_bytes() == b"content"


def test_a_damaged_entry_counts_as_missing_and_is_made_again(kept: tuple[ContentStore, Home, Path]) -> None:
    store, home, file = kept
    path = store.folder / "key" / ENTRY
    path.write_text(path.read_text(encoding="utf-8").replace("1.5", "2.5"), encoding="utf-8")
    assert store.read("key") is None
    store.add("key", {"value": 3.5}, home, [file])
    assert store.read("key") == {"value": 3.5}
    assert store.list_keys() == ["key"]


def test_a_home_without_labels_has_none_at_any_time(tmp_path: Path) -> None:
    labels = KnownLabels(make_home(tmp_path))
    labels.write(make_home(tmp_path / "other"), datetime(2026, 1, 1, tzinfo=UTC))
    assert (labels.count, labels.list_ends(at("00:00"), at("00:00") + DAY)) == (0, [])
