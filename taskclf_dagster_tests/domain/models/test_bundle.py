"""Bundles: written as the contract says, read back with the same predictions, and every damage told instead of raised."""

import hashlib
import json
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix, f1_score

from taskclf_dagster.domain.data.feature_schema import LABELS, SCHEMAS, SchemaVersion
from taskclf_dagster.domain.data.hashing import hash_row_keys
from taskclf_dagster.domain.data.windows import read_windows
from taskclf_dagster.domain.models.bundle import find_bundle_problem, load_bundle, parse_bundle
from taskclf_dagster.domain.models.bundle_files import (
    CONFUSION,
    ENCODERS,
    METADATA,
    METRICS,
    MODEL,
    OUT_OF_FOLD,
    TRAINING_ROWS,
    bundle_hashes,
    read_bundle_files,
)
from taskclf_dagster.domain.models.bundle_writer import add_test_figures, confusion_counts, write_bundle
from taskclf_dagster.domain.models.encoding import encode_inputs
from taskclf_dagster.domain.models.fitting import predict
from taskclf_dagster.domain.models.model_text import tree_hash
from taskclf_dagster.errors import BundleError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.damaged_bundles import INCOMPATIBLE, INVALID, Damage
from taskclf_dagster_tests.models import (
    CONTRACT_METADATA,
    GIVEN_METADATA,
    NEW,
    change_a_leaf,
    contents,
    edit_json,
    rows_of,
    tiny_model,
    write_tiny_bundle,
)
from taskclf_dagster_tests.scenario import at

FILES = [CONFUSION, ENCODERS, METADATA, METRICS, MODEL, TRAINING_ROWS, OUT_OF_FOLD]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_tiny_bundle(tmp_path / NEW)


def read(path: Path) -> dict[str, object]:
    return json.loads(path.read_text(encoding="utf-8"))


# --- What is written --------------------------------------------------------------------------------------------------------------


def test_a_bundle_has_the_files_of_the_contract_and_its_training_rows(bundle: Path) -> None:
    assert sorted(path.name for path in bundle.iterdir()) == sorted(FILES)


def test_metadata_has_every_key_of_the_contract_and_ours_beside_them(bundle: Path) -> None:
    additive = {"model_id", "artifact_hash", "tree_hash", "first_tree_hash", "training_rows_file", "reject_threshold_choice", "recipe"}
    assert set(read(bundle / METADATA)) == CONTRACT_METADATA | additive


def test_metadata_says_what_the_model_is(bundle: Path) -> None:
    metadata, model = read(bundle / METADATA), tiny_model()
    assert metadata["schema_version"] == "v1"
    assert metadata["schema_hash"] == "4077fe0dba70"
    assert metadata["label_set"] == ["BreakIdle", "Build", "Communicate", "Debug", "Meet", "ReadResearch", "Review", "Write"]
    assert metadata["reject_threshold"] == model.reject.value
    assert (metadata["unknown_category_freq_threshold"], metadata["unknown_category_mask_rate"]) == (5, 0.05)
    assert metadata["model_id"] == NEW
    assert metadata["training_rows_file"] == "training_rows.npy"
    assert {key: metadata[key] for key in GIVEN_METADATA} == GIVEN_METADATA


def test_params_hold_what_is_needed_to_train_again(bundle: Path) -> None:
    expected = {
        "objective": "multiclass",
        "metric": "multi_logloss",
        "num_class": 8,
        "num_boost_round": 3,
        "num_leaves": 4,
        "learning_rate": 0.1,
        "class_weight_method": "balanced",
        "deterministic": True,
        "seed": int("0123456", 16),
        "num_threads": 1,
    }
    params = read(bundle / METADATA)["params"]
    assert {key: params[key] for key in expected} == expected


def test_training_dates_cover_the_training_split_only(bundle: Path) -> None:
    # Four days of equal size end on 3 February: 70 % of them are over before the last one begins.
    metadata = read(bundle / METADATA)
    assert (metadata["train_date_from"], metadata["train_date_to"]) == ("2026-01-31", "2026-02-02")
    assert rows_of("test")["bucket_start_ts"].max().date() == date(2026, 2, 3)


def test_the_artifact_hash_is_that_of_model_txt(bundle: Path) -> None:
    assert read(bundle / METADATA)["artifact_hash"] == hashlib.sha256((bundle / MODEL).read_bytes()).hexdigest()


def test_the_tree_hash_sees_the_trees_and_not_the_number_of_threads(bundle: Path) -> None:
    text = (bundle / MODEL).read_text(encoding="utf-8")
    assert read(bundle / METADATA)["tree_hash"] == tree_hash(text)
    more_threads = text.replace("[num_threads: 1]", "[num_threads: 8]")
    assert more_threads != text
    assert tree_hash(more_threads) == tree_hash(text)
    change_a_leaf(bundle)
    assert tree_hash((bundle / MODEL).read_text(encoding="utf-8")) != tree_hash(text)


def test_training_rows_are_the_sorted_hashes_of_the_training_split(bundle: Path) -> None:
    stored = np.load(bundle / TRAINING_ROWS)
    assert stored.dtype == np.uint64
    assert (np.diff(stored.astype(object)) > 0).all()
    assert set(stored.tolist()) == set(hash_row_keys(rows_of("train")).tolist())
    assert not np.isin(hash_row_keys(rows_of("test")), stored).any()


def test_metrics_are_those_of_the_validation_split_without_reject_over_all_eight_labels(bundle: Path) -> None:
    model = tiny_model()
    true, named = model.validation_true, model.validation_probabilities.argmax(axis=1)
    every = list(range(8))
    assert read(bundle / METRICS) == {
        "macro_f1": round(f1_score(true, named, labels=every, average="macro", zero_division=0), 4),
        "weighted_f1": round(f1_score(true, named, labels=every, average="weighted", zero_division=0), 4),
        "confusion_matrix": confusion_matrix(true, named, labels=every).tolist(),
        "label_names": list(LABELS),
    }
    # what is rejected at inference is not left out: all validation windows are in the matrix
    assert model.reject.reject_rate > 0
    assert np.sum(read(bundle / METRICS)["confusion_matrix"]) == len(rows_of("validation"))


def test_figures_in_metrics_are_rounded_to_four_places(bundle: Path) -> None:
    for figure in ("macro_f1", "weighted_f1"):
        value = read(bundle / METRICS)[figure]
        assert value == round(value, 4)
        assert 0 < value < 1


def test_the_confusion_csv_has_the_labels_as_header_and_index(bundle: Path) -> None:
    lines = (bundle / CONFUSION).read_text(encoding="utf-8").splitlines()
    assert lines[0] == ",BreakIdle,Build,Communicate,Debug,Meet,ReadResearch,Review,Write"
    assert [line.split(",")[0] for line in lines[1:]] == list(LABELS)
    assert [[int(cell) for cell in line.split(",")[1:]] for line in lines[1:]] == read(bundle / METRICS)["confusion_matrix"]


def test_the_encoders_are_sorted_vocabularies_with_an_unknown_code(bundle: Path) -> None:
    encoders = read(bundle / ENCODERS)
    assert list(encoders) == ["app_id", "app_category", "domain_category", "user_id"]
    assert encoders["user_id"] == ["__unknown__", "user-0", "user-1"]
    assert encoders["app_category"] == ["__unknown__", "browser", "chat", "editor", "lockscreen"]


def test_test_figures_are_added_to_metrics_beside_the_keys_of_the_contract(bundle: Path) -> None:
    before = read(bundle / METRICS)
    files = add_test_figures(read_bundle_files(bundle), {"macro_f1": 0.25})
    assert files.hashes() == bundle_hashes(bundle)
    assert read(bundle / METRICS) == {**before, "test": {"macro_f1": 0.25}}
    assert parse_bundle(bundle).problem is None


def test_what_the_model_knows_itself_cannot_be_overridden(tmp_path: Path) -> None:
    given = {**GIVEN_METADATA, "schema_hash": "0" * 12, "artifact_hash": "0" * 64, "label_set": []}
    write_bundle(tmp_path / NEW, tiny_model(), rows_of("train"), metadata=given)
    assert find_bundle_problem(parse_bundle(tmp_path / NEW)) is None
    assert read(tmp_path / NEW / METADATA)["artifact_hash"] == hashlib.sha256((tmp_path / NEW / MODEL).read_bytes()).hexdigest()


def test_a_bundle_that_cannot_be_written_whole_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_bundle(tmp_path / NEW, tiny_model(), rows_of("train"), metadata={**GIVEN_METADATA, "loss": float("nan")})
    assert not (tmp_path / NEW).exists()
    # what the attempt left behind is in nobody's way
    write_bundle(tmp_path / NEW, tiny_model(), rows_of("train"), metadata=GIVEN_METADATA)
    assert [path.name for path in tmp_path.iterdir()] == [NEW]
    assert sorted(path.name for path in (tmp_path / NEW).iterdir()) == sorted(FILES)


def test_a_bundle_is_never_written_over_another(tmp_path: Path, bundle: Path) -> None:
    before = contents(bundle)
    with pytest.raises(OSError, match=NEW):
        write_bundle(bundle, tiny_model(), rows_of("train"), metadata=GIVEN_METADATA)
    assert contents(bundle) == before


def test_the_hashes_of_a_bundle_name_every_file(bundle: Path) -> None:
    assert bundle_hashes(bundle) == {name: hashlib.sha256((bundle / name).read_bytes()).hexdigest() for name in FILES}


def test_confusion_counts_have_true_labels_as_rows() -> None:
    # Build (1) taken for Write (7) twice, Write right once
    counts = confusion_counts(np.array([1, 1, 7]), np.array([7, 7, 7]))
    expected = np.zeros((8, 8), dtype=int)
    expected[1, 7], expected[7, 7] = 2, 1
    assert counts.tolist() == expected.tolist()


# --- What is read back ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_a_reloaded_bundle_predicts_bit_for_bit_what_was_trained(tmp_path: Path, version: SchemaVersion) -> None:
    model, rows = tiny_model(version), rows_of("test", version)
    loaded = load_bundle(write_tiny_bundle(tmp_path / NEW, version=version))
    trained = predict(model.booster, encode_inputs(rows, SCHEMAS[version], model.encoders), num_threads=1)
    assert np.array_equal(loaded.predict_rows(rows, num_threads=1), trained)
    assert trained.shape == (len(rows), 8)
    assert np.ptp(trained.argmax(axis=1)) > 0
    assert (loaded.schema.version, loaded.reject_threshold, loaded.encoders) == (version, model.reject.value, model.encoders)


def test_a_parsed_bundle_carries_metadata_and_metrics(bundle: Path) -> None:
    parsed = parse_bundle(bundle)
    assert (parsed.model_id, parsed.path, parsed.problem) == (NEW, bundle, None)
    assert find_bundle_problem(parsed) is None
    assert parsed.metadata.train_date_to == date(2026, 2, 2)
    assert parsed.metrics.macro_f1 == read(bundle / METRICS)["macro_f1"]


def test_a_bundle_of_the_original_has_fewer_keys_and_files_and_is_whole(bundle: Path) -> None:
    for key in ("model_id", "artifact_hash", "tree_hash", "training_rows_file", "reject_threshold_choice"):
        edit_json(bundle / METADATA, {}, without=key)
    (bundle / TRAINING_ROWS).unlink()
    assert find_bundle_problem(parse_bundle(bundle)) is None
    assert load_bundle(bundle).bundle.metadata.artifact_hash is None


def test_keys_that_are_not_known_are_ignored(bundle: Path) -> None:
    edit_json(bundle / METADATA, {"colour": "blue"})
    edit_json(bundle / METRICS, {"kappa": 0.5})
    assert find_bundle_problem(parse_bundle(bundle)) is None


def test_a_creation_time_without_a_zone_is_utc(bundle: Path) -> None:
    edit_json(bundle / METADATA, {"created_at": "2026-01-05T09:00:00"})
    assert parse_bundle(bundle).metadata.created_at == at("09:00")


@pytest.mark.parametrize("value", [0, 1, 0.0, 1.0])
def test_metrics_at_the_ends_of_their_range_are_valid(bundle: Path, value: float) -> None:
    edit_json(bundle / METRICS, {"macro_f1": value, "weighted_f1": value})
    assert parse_bundle(bundle).metrics.macro_f1 == value


# --- Damage -----------------------------------------------------------------------------------------------------------------------


def test_every_damaged_bundle_of_the_catalogue_is_invalid_and_never_raises(tmp_path: Path) -> None:
    wrong = []
    for number, (name, (damage, code)) in enumerate(INVALID.items()):
        bundle = write_tiny_bundle(tmp_path / str(number) / NEW)
        damage(bundle)
        parsed = parse_bundle(bundle)
        found = None if parsed.problem is None else (parsed.problem.code, parsed.problem.kind, bool(parsed.problem.detail))
        if found != (code, "invalid", True) or (parsed.metadata, parsed.metrics, find_bundle_problem(parsed)) != (
            None,
            None,
            parsed.problem,
        ):
            wrong.append((name, "parsed", found))
        try:
            load_bundle(bundle)
        except BundleError as error:
            if (error.code, error.kind, error.reason) != (code, "invalid", parsed.problem.reason):
                wrong.append((name, "loaded", error.code))
        else:
            wrong.append((name, "loaded", None))
    assert wrong == []


def test_every_bundle_of_another_schema_or_label_set_is_whole_but_incompatible(tmp_path: Path) -> None:
    wrong = []
    for number, (name, (damage, code)) in enumerate(INCOMPATIBLE.items()):
        bundle = write_tiny_bundle(tmp_path / str(number) / NEW)
        damage(bundle)
        parsed = parse_bundle(bundle)
        problem = find_bundle_problem(parsed)
        with pytest.raises(BundleError) as caught:
            load_bundle(bundle)
        found = (parsed.problem, problem.code, problem.kind, caught.value.code, caught.value.kind)
        if found != (None, code, "incompatible", code, "incompatible"):
            wrong.append((name, found))
    assert wrong == []


def test_everything_that_is_missing_is_named_at_once(bundle: Path) -> None:
    (bundle / MODEL).unlink()
    (bundle / ENCODERS).unlink()
    problem = parse_bundle(bundle).problem
    assert (problem.code, MODEL in problem.detail, ENCODERS in problem.detail) == ("missing_file", True, True)


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir(), lambda path: path.write_text("", encoding="utf-8")])
def test_a_folder_that_is_none_or_empty_is_an_invalid_bundle(tmp_path: Path, make: Damage) -> None:
    make(tmp_path / NEW)
    assert parse_bundle(tmp_path / NEW).problem.code == "missing_file"


def test_a_model_cut_anywhere_up_to_the_end_of_its_parameters_is_invalid(bundle: Path) -> None:
    # LightGBM reads past the end of a text that stops within its parameters, which may end the process: it must never get to see one.
    text = (bundle / MODEL).read_text(encoding="utf-8")
    accepted = []
    for cut in range(0, text.index("end of parameters"), 211):
        (bundle / MODEL).write_text(text[:cut], encoding="utf-8")
        if parse_bundle(bundle).problem is None:
            accepted.append(f"{cut} of {len(text)}: ...{text[max(0, cut - 20) : cut]!r}")
    assert accepted == []


@pytest.mark.parametrize("left_out", [1, 5, 20])
def test_a_model_cut_behind_its_parameters_is_refused_or_predicts_the_same(bundle: Path, left_out: int) -> None:
    rows = rows_of("test")
    whole = load_bundle(bundle).predict_rows(rows, num_threads=1)
    text = (bundle / MODEL).read_text(encoding="utf-8")
    assert text.index("end of parameters") < len(text) - left_out
    (bundle / MODEL).write_text(text[:-left_out], encoding="utf-8")
    edit_json(bundle / METADATA, {}, without="artifact_hash")
    try:
        found = load_bundle(bundle).predict_rows(rows, num_threads=1)
    except BundleError:
        return
    assert np.array_equal(found, whole)


def test_a_model_that_is_not_the_one_its_metadata_names_is_not_loaded(bundle: Path) -> None:
    change_a_leaf(bundle)
    with pytest.raises(BundleError) as caught:
        load_bundle(bundle)
    assert caught.value.code == "artifact_hash"


def test_encoders_that_lack_a_column_are_told_when_the_model_is_loaded(bundle: Path) -> None:
    edit_json(bundle / ENCODERS, {}, without="domain_category")
    with pytest.raises(BundleError, match="domain_category") as caught:
        load_bundle(bundle)
    assert caught.value.code == "encoders"


def test_a_v3_model_with_v1_metadata_is_incompatible(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / NEW, version="v3", metadata={"schema_version": "v1", "schema_hash": "4077fe0dba70"})
    edit_json(bundle / ENCODERS, {"user_id": ["__unknown__"]})
    with pytest.raises(BundleError, match=r"299.* 39 ") as caught:
        load_bundle(bundle)
    assert (caught.value.code, caught.value.kind) == ("model_shape", "incompatible")


def test_the_reason_of_a_refused_load_is_kept_beside_the_message(bundle: Path) -> None:
    (bundle / METRICS).unlink()
    with pytest.raises(BundleError) as caught:
        load_bundle(bundle)
    assert (caught.value.code, METRICS in caught.value.reason, str(bundle) in str(caught.value)) == ("missing_file", True, True)


# --- The original's own bundles ---------------------------------------------------------------------------------------------------


def expected_probabilities(path: Path, rows: pd.DataFrame) -> np.ndarray:
    """What the original computed for these rows; checks that they are the same rows in the same order."""
    expected = pd.read_parquet(path)
    assert expected["user_id"].tolist() == rows["user_id"].astype(str).tolist()
    assert expected["bucket_start_ts"].tolist() == rows["bucket_start_ts"].tolist()
    return expected[list(LABELS)].to_numpy()


def all_windows(home: Home, version: SchemaVersion, *, first: int, last: int) -> pd.DataFrame:
    return read_windows(
        home, start=at("00:00", day=first), end=at("00:00", day=last), schema_version=version, skip_unreadable_days=False
    ).frame


def test_the_originals_v1_model_gives_the_originals_probabilities(real_homes: Path) -> None:
    home = Home(real_homes / "original-home")
    rows = all_windows(home, "v1", first=0, last=31).iloc[::7]
    found = load_bundle(home.models / "2026-11-20_214705_run-9706").predict_rows(rows, num_threads=1)
    expected = expected_probabilities(real_homes / "original-expected" / "v1_probabilities.parquet", rows)
    assert len(expected) == 2058
    assert np.abs(found - expected).max() <= 1e-12


def test_the_originals_v3_model_gives_the_originals_probabilities(real_homes: Path) -> None:
    rows = all_windows(Home(real_homes / "academic-v3"), "v3", first=-1100, last=-900)
    (folder,) = (real_homes / "original-expected" / "v3_bundle").iterdir()
    found = load_bundle(folder).predict_rows(rows, num_threads=1)
    expected = expected_probabilities(real_homes / "original-expected" / "v3_probabilities.parquet", rows)
    assert len(expected) == 5260
    assert np.abs(found - expected).max() <= 1e-12


def test_the_originals_bundles_have_the_keys_that_ours_have(real_homes: Path, bundle: Path) -> None:
    for folder in sorted(path for path in (real_homes / "original-home" / "models").iterdir() if path.is_dir()):
        assert set(read(folder / METADATA)) <= set(read(bundle / METADATA))
        assert set(read(folder / METRICS)) == set(read(bundle / METRICS))
        assert set(read(folder / ENCODERS)) == set(read(bundle / ENCODERS))
        assert find_bundle_problem(parse_bundle(folder)) is None
