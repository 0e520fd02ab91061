"""The demo home: the same bytes for the same seed, files as taskclf writes them, and days hard enough to learn from."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.demo.generator import DemoHome, DemoHomeError, extend_demo_home, generate_demo_home
from taskclf_dagster.demo.habits import DRIFT_DAYS, NEW_APP
from taskclf_dagster.demo.labels import PROVENANCE
from taskclf_dagster.domain.data.feature_schema import BREAK_IDLE, LABELS, SCHEMAS, SchemaVersion
from taskclf_dagster.domain.data.labeled_windows import label_windows, store_labeled_windows
from taskclf_dagster.domain.data.snapshot import build_snapshot
from taskclf_dagster.domain.data.snapshot_rows import label_codes
from taskclf_dagster.domain.evaluation.baselines import compare_with_baseline, fit_lookup, predict_baseline
from taskclf_dagster.domain.evaluation.metrics import evaluate
from taskclf_dagster.domain.models.choice import present_choice
from taskclf_dagster.domain.models.encoding import encode_inputs
from taskclf_dagster.domain.models.fitting import predict
from taskclf_dagster.domain.models.learned_rows import is_in_part
from taskclf_dagster.domain.models.training import train_challenger
from taskclf_dagster.home import Home
from taskclf_dagster_tests.scenario import retrain_config

END = date(2026, 3, 31)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> DemoHome:
    return generate_demo_home(tmp_path_factory.mktemp("demo") / "home", end=END, users=2, days=10, seed=3)


def _files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def _windows(root: Path, version: SchemaVersion = "v1") -> pd.DataFrame:
    paths = sorted(Home(root).features(version).glob("date=*/features.parquet"))
    return pd.concat([pq.ParquetFile(path).read().to_pandas() for path in paths], ignore_index=True)


def _spans(root: Path) -> pd.DataFrame:
    return pq.ParquetFile(Home(root).labels).read().to_pandas()


def test_the_same_seed_and_end_give_the_same_bytes(small: DemoHome, tmp_path: Path) -> None:
    generate_demo_home(tmp_path / "again", end=END, users=2, days=10, seed=3)
    assert _files(tmp_path / "again") == _files(small.root)


@pytest.mark.parametrize("change", [{"seed": 4}, {"end": END - timedelta(days=1)}])
def test_another_seed_or_end_gives_other_windows(small: DemoHome, tmp_path: Path, change: dict[str, object]) -> None:
    generate_demo_home(tmp_path / "other", **{"end": END, "users": 2, "days": 10, "seed": 3, **change})  # type: ignore[arg-type]
    same_day = f"data/processed/features_v1/date={END - timedelta(days=1)}/features.parquet"
    if "seed" in change:
        assert _files(tmp_path / "other")[same_day] != _files(small.root)[same_day]
    else:
        assert f"data/processed/features_v1/date={END}/features.parquet" not in _files(tmp_path / "other")


def test_added_days_leave_files_and_spans_that_are_there_as_they_are(tmp_path: Path) -> None:
    made = generate_demo_home(tmp_path / "home", end=END, users=2, days=4, seed=3)
    before, spans = _files(made.root), _spans(made.root)
    grown = extend_demo_home(made.root, days=3)
    after = _files(made.root)
    features = {name for name in before if "features" in name}
    assert {name: after[name] for name in features} == {name: before[name] for name in features}
    assert len([name for name in after if "features" in name]) == 7
    pd.testing.assert_frame_equal(_spans(made.root).head(len(spans)), spans)
    assert grown.last_day == END + timedelta(days=3)
    assert grown.first_day == made.first_day
    assert grown.windows == len(_windows(made.root))
    assert grown.spans == len(_spans(made.root)) > len(spans)


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_columns_and_types_are_those_of_the_schema(tmp_path: Path, version: SchemaVersion) -> None:
    generate_demo_home(tmp_path / "home", end=END, users=1, days=1, schema=version)
    schema = pq.read_schema(Home(tmp_path / "home").features(version) / f"date={END}" / "features.parquet")
    kinds = {"str": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "datetime": pa.timestamp("us", tz="UTC")}
    expected = {name: kinds.get(kind, pa.list_(pa.string())) for name, kind in SCHEMAS[version].columns.items()}
    expected["device_id"] = pa.null()
    assert {name.replace("element", "item"): kind for name, kind in zip(schema.names, schema.types, strict=True)} == expected
    assert schema.names == list(SCHEMAS[version].columns)


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_a_demo_home_keeps_the_data_contract(tmp_path: Path, version: SchemaVersion) -> None:
    made = generate_demo_home(tmp_path / "home", end=END, users=1, days=2, schema=version)
    as_of = datetime.combine(END + timedelta(days=1), datetime.min.time(), UTC)
    record, frame, *_ = label_windows(Home(made.root), as_of=as_of, settings=retrain_config().dataset)
    assert record.violations == []
    assert frame is not None
    assert record.windows == made.windows
    assert record.gold == made.labeled_minutes
    assert record.duplicates_dropped == 0
    assert record.spans_by_provenance == {PROVENANCE: made.spans}


def test_spans_last_5_to_60_minutes_and_never_overlap_within_a_user(small: DemoHome) -> None:
    spans = _spans(small.root).sort_values(["user_id", "start_ts"])
    lengths = (spans["end_ts"] - spans["start_ts"]).dt.total_seconds() / 60
    assert lengths.between(5, 60).all()
    next_start = spans.groupby("user_id")["start_ts"].shift(-1)
    assert (next_start.isna() | (next_start >= spans["end_ts"])).all()
    assert set(spans["label"]) == set(LABELS)


def test_some_minutes_are_not_labelled_and_most_are(small: DemoHome) -> None:
    assert 0.6 < small.labeled_minutes / small.windows < 0.8


def test_a_rolling_mean_is_that_of_the_windows_before_it_in_the_session(small: DemoHome) -> None:
    windows = _windows(small.root)
    session = windows[windows["session_id"] == windows["session_id"].value_counts().index[0]].sort_values("bucket_start_ts")
    keys = session["keys_per_min"].to_numpy()
    for row in (0, 3, 12):
        recent = keys[max(0, row - 4) : row + 1]
        assert session["keys_per_min_rolling_5"].to_numpy()[row] == pytest.approx(np.nanmean(recent))
    minutes = (session["bucket_start_ts"] - session["bucket_start_ts"].iloc[0]).dt.total_seconds() / 60
    assert session["session_length_so_far"].tolist() == minutes.tolist()
    assert session["hour_of_day"].tolist() == session["bucket_start_ts"].dt.hour.tolist()


def test_changes_and_app_switches_are_those_of_the_session(small: DemoHome) -> None:
    windows = _windows(small.root)
    session = windows[windows["session_id"] == windows["session_id"].value_counts().index[0]].sort_values("bucket_start_ts")
    for name in ("keys_per_min", "clicks_per_min", "mouse_distance"):
        np.testing.assert_allclose(session[f"{name}_delta"], session[name].diff(), atol=1e-4)
    apps, starts = session["app_id"].tolist(), session["bucket_start_ts"].tolist()
    switched_at = [now for now, app, before in zip(starts[1:], apps[1:], apps, strict=False) if app != before]
    assert len(switched_at) > 5
    for minutes in (5, 15):
        expected = [sum(timedelta(0) <= start - at < timedelta(minutes=minutes) for at in switched_at) for start in starts]
        assert session[f"app_switch_count_last_{minutes}m"].tolist() == expected


def test_a_new_app_comes_with_the_drift_in_the_last_week(small: DemoHome) -> None:
    windows = _windows(small.root)
    days = windows.loc[windows["app_id"] == NEW_APP, "bucket_start_ts"].dt.date
    assert days.min() >= END - timedelta(days=DRIFT_DAYS - 1)
    assert days.nunique() >= 5


def test_nobody_comes_back_only_to_have_a_break(small: DemoHome) -> None:
    """A locked screen from a session's first minute on is something a model of few days has never seen, and calls work."""
    windows = _windows(small.root)
    first = windows.sort_values("bucket_start_ts").groupby("session_id").head(1)
    assert len(first) > 20
    assert not (first["app_category"] == "lockscreen").any()


def test_the_marker_says_what_made_the_home(small: DemoHome) -> None:
    home = Home(small.root)
    marker = json.loads(home.demo_marker.read_text(encoding="utf-8"))
    assert home.is_demo
    assert home.display_name.startswith("DEMO home ")
    assert (marker["seed"], marker["users"], marker["days"], marker["end"], marker["schema"]) == (3, 2, 10, "2026-03-31", "v1")


@pytest.mark.parametrize(
    "settings", [{"users": 0}, {"days": 0}, {"seed": -1}, {"users": 2, "schema": "v2"}], ids=["users", "days", "seed", "users of v2"]
)
def test_a_size_that_makes_no_home_is_refused(tmp_path: Path, settings: dict[str, object], snapshot: SnapshotAssertion) -> None:
    with pytest.raises(DemoHomeError) as caught:
        generate_demo_home(tmp_path / "home", end=END, **settings)  # type: ignore[arg-type]
    assert str(caught.value).replace(str(tmp_path), "FOLDER") == snapshot
    assert not (tmp_path / "home").exists()


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(DemoHomeError):
        generate_demo_home(tmp_path, end=END, users=1, days=1)
    with pytest.raises(DemoHomeError):
        extend_demo_home(tmp_path, days=1)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(("seed", "users"), [(7, 3), (8, 1)])
def test_a_month_is_hard_enough_and_a_table_of_apps_is_not(tmp_path: Path, seed: int, users: int) -> None:
    home = Home(generate_demo_home(tmp_path / "home", end=END, users=users, seed=seed).root)
    as_of = datetime.combine(END + timedelta(days=1), datetime.min.time(), UTC)
    config = retrain_config()
    labeled = label_windows(home, as_of=as_of, settings=config.dataset)
    assert labeled.frame is not None
    snapshot, rows = build_snapshot(
        home, store_labeled_windows(home, as_of=as_of, settings=config.dataset).record, labeled.frame, config=config
    )
    model = train_challenger(
        lambda part: rows[is_in_part(rows, part)].reset_index(drop=True),
        SCHEMAS["v1"],
        settings=config.training,
        choice=present_choice(config.train_params),
        dataset_digest=snapshot.dataset_digest,
        num_threads=1,
        on_progress=lambda line: None,
    )
    test = rows[rows["split"] == "test"].reset_index(drop=True)
    report, predictions = evaluate(
        test,
        label_codes(test).astype(np.int64),
        predict(model.booster, encode_inputs(test, SCHEMAS["v1"], model.encoders), num_threads=1),
        model_id="demo",
        schema_version="v1",
        reject_threshold=model.reject.value,
        min_class_windows=config.evaluation.min_class_windows,
        unseen_users=[],
    )
    lookup = compare_with_baseline(predictions, fit_lookup(rows[is_in_part(rows, "refit")]).predict(test), report.judged_labels)
    rules = compare_with_baseline(predictions, predict_baseline(test), report.judged_labels)
    break_idle = report.per_class[BREAK_IDLE]
    assert report.macro_f1 is not None
    assert 0.75 < report.macro_f1 < 0.92
    assert lookup.baseline is not None
    assert lookup.baseline < report.macro_f1 - 0.2
    assert rules.baseline is not None
    assert rules.model is not None
    assert rules.baseline < rules.model - 0.2
    assert break_idle.precision is not None
    assert break_idle.recall is not None
    assert break_idle.precision >= 0.95
    assert break_idle.recall >= 0.90
    assert 0.05 <= report.reject_rate <= 0.30
