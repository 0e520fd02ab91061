"""The calibrator store: taskclf's own one, a round trip, names of users that would leave it, and files that are damaged or missing."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.models.calibrator_store import CalibratorStore, read_calibrator_store, save_calibrator_store
from taskclf_dagster.domain.models.calibrators import IdentityCalibrator, TemperatureCalibrator
from taskclf_dagster.domain.storage.filesystem import use_file_system
from taskclf_dagster.errors import UnreadableFileError, UnsafeUserIdError
from taskclf_dagster_tests.faults.injection import FAULTS, FailingFileSystem, Killed
from taskclf_dagster_tests.models import NEW, contents

AT = datetime(2026, 2, 5, 12, tzinfo=UTC)
STORE = CalibratorStore(
    method="temperature",
    everyone=TemperatureCalibrator(temperature=1.5),
    users={"user-0": TemperatureCalibrator(temperature=2.0), "user-1": IdentityCalibrator()},
    model_id=NEW,
    schema_hash="4077fe0dba70",
    created_at=AT,
)
ROWS = np.array([[0.64, 0.16, 0.04, 0.16, 0, 0, 0, 0]] * 3)


def _write(folder: Path, name: str, value: object) -> None:
    (folder / name).write_text(json.dumps(value), encoding="utf-8")


def test_taskclfs_own_store_is_read_and_gives_the_probabilities_of_scipy(real_homes: Path) -> None:
    store = read_calibrator_store(real_homes / "original-home" / "artifacts" / "calibrator_store")
    assert (store.method, store.model_id, store.schema_hash) == ("temperature", "2026-11-20_214634_run-9393", "4077fe0dba70")
    assert list(store.users.values()) == [store.everyone] == [TemperatureCalibrator(temperature=1.81)]
    frame = pd.read_parquet(real_homes / "original-expected" / "v1_probabilities.parquet")
    rows = frame[list(LABELS)].to_numpy()
    expected = softmax(np.log(np.clip(rows, 1e-12, None)) / 1.81, axis=1)
    np.testing.assert_allclose(store.calibrate(rows, frame["user_id"]), expected, atol=1e-12)


def test_each_user_has_their_own_calibrator_and_all_others_that_of_everyone() -> None:
    found = STORE.calibrate(ROWS, ["user-0", "user-1", "stranger"])
    np.testing.assert_allclose(found[0, :4], np.array([0.8, 0.4, 0.2, 0.4]) / 1.8, atol=1e-5)
    assert found[1].tolist() == ROWS[1].tolist()
    np.testing.assert_allclose(found[2, :1], 0.64 ** (2 / 3) / sum(p ** (2 / 3) for p in (0.64, 0.16, 0.04, 0.16)), atol=1e-5)


def test_a_store_is_read_as_it_was_written_below_a_name_of_its_content(tmp_path: Path) -> None:
    folder = save_calibrator_store(tmp_path / "calibrators", STORE)
    assert read_calibrator_store(folder) == STORE
    assert len(folder.name) == 16
    assert json.loads((folder / "store.json").read_text(encoding="utf-8")) == {
        "method": "temperature",
        "user_count": 2,
        "user_ids": ["user-0", "user-1"],
        "model_bundle_id": NEW,
        "model_schema_hash": "4077fe0dba70",
        "created_at": "2026-02-05T12:00:00+00:00",
    }
    before = contents(tmp_path)
    assert save_calibrator_store(tmp_path / "calibrators", STORE) == folder
    assert contents(tmp_path) == before


def test_a_store_that_was_damaged_is_written_again(tmp_path: Path) -> None:
    folder = save_calibrator_store(tmp_path, STORE)
    (folder / "global.json").write_text("{", encoding="utf-8")
    assert read_calibrator_store(save_calibrator_store(tmp_path, STORE)) == STORE


@pytest.mark.parametrize("user", ["../../../pwned", "a/b", "a\\b", "..", "", "x" * 300, "a\0b"])
def test_a_user_id_that_is_a_path_is_refused_and_nothing_is_written(tmp_path: Path, user: str) -> None:
    store = CalibratorStore("temperature", IdentityCalibrator(), {user: IdentityCalibrator()})
    with pytest.raises(UnsafeUserIdError, match="cannot name a file"):
        save_calibrator_store(tmp_path / "calibrators", store)
    assert contents(tmp_path) == {}
    folder = save_calibrator_store(tmp_path, STORE)
    _write(folder, "store.json", {"method": "temperature", "user_ids": [user]})
    with pytest.raises(UnreadableFileError, match=r"store\.json"):
        read_calibrator_store(folder)


@pytest.mark.parametrize("name", ["store.json", "global.json", "users/user-0.json"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    folder = save_calibrator_store(tmp_path, STORE)
    (folder / name).write_text('{"type": "temperature", "temperature": -1, "method": 7}', encoding="utf-8")
    with pytest.raises(UnreadableFileError, match=name.rpartition("/")[2]):
        read_calibrator_store(folder)


def test_a_user_whose_file_is_lost_has_the_calibrator_of_everyone_and_is_named(tmp_path: Path) -> None:
    folder = save_calibrator_store(tmp_path, STORE)
    (folder / "users" / "user-0.json").unlink()
    store = read_calibrator_store(folder)
    assert store.missing == ("user-0",)
    assert store.calibrate(ROWS, ["user-0"] * 3).tolist() == STORE.calibrate(ROWS, ["stranger"] * 3).tolist()


def test_a_folder_without_a_store_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match="does not exist"):
        read_calibrator_store(tmp_path)


def test_a_process_that_is_killed_at_any_call_leaves_a_whole_store_or_none(tmp_path: Path) -> None:
    count = FailingFileSystem(0, FAULTS["killed"])
    with use_file_system(count):
        name = save_calibrator_store(tmp_path / "calibrators", STORE).name
    for call in range(1, len(count.calls) + 1):
        shutil.rmtree(tmp_path / "calibrators")
        with use_file_system(FailingFileSystem(call, FAULTS["killed"])), pytest.raises(Killed):
            save_calibrator_store(tmp_path / "calibrators", STORE)
        folder = tmp_path / "calibrators" / name
        assert not folder.exists() or read_calibrator_store(folder) == STORE
        assert read_calibrator_store(save_calibrator_store(tmp_path / "calibrators", STORE)) == STORE
