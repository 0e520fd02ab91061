"""A dataset in parts: whatever their number, the same windows, snapshot, model, figures and verdict."""

import shutil
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow.parquet as pq
import pytest

from taskclf_dagster.domain.data.hashing import frame_digest
from taskclf_dagster.domain.data.labeled_windows import LabeledWindows, label_windows, open_labeled_windows, store_labeled_windows
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot, build_snapshot_parts, open_snapshot, save_snapshot
from taskclf_dagster.domain.data.snapshot_rows import read_snapshot_rows
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.models.challenger import ChallengerModel
from taskclf_dagster.domain.models.reproducibility import reproduce
from taskclf_dagster.domain.registry.fsck import check_registry
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.retraining.recomputation import recompute_decision
from taskclf_dagster.domain.retraining.steps import find_skip_reason
from taskclf_dagster.errors import SnapshotError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.parts_scenario import CONFIG, DAYS, OLDER_DAYS, WINDOWS_OF_PARTS, home_of_parts
from taskclf_dagster_tests.retrain_scenario import decide_about, judge_challenger, train_challenger
from taskclf_dagster_tests.scenario import AS_OF, DAY, write_day


class Made(NamedTuple):
    """Everything that a retrain makes of a home."""

    labeled: LabeledWindows
    snapshot: DatasetSnapshot
    challenger: ChallengerModel
    decision: PromotionDecision
    model: bytes


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return home_of_parts(tmp_path_factory.mktemp("parts"))


def make_dataset(home: Home, parts: int, *, holdout: float = 0.2) -> tuple[LabeledWindows, DatasetSnapshot]:
    for folder in home.artifacts.iterdir() if home.artifacts.is_dir() else []:
        if folder.is_dir():
            shutil.rmtree(folder)
    labeled = store_labeled_windows(home, as_of=AS_OF, settings=CONFIG.dataset, part_windows=WINDOWS_OF_PARTS[parts]).record
    snapshot, rows = build_snapshot_parts(home, labeled, open_labeled_windows(home, labeled), config=CONFIG, holdout_fraction=holdout)
    return labeled, save_snapshot(home, snapshot, rows)


_MADE: dict[int, Made] = {}


def made_of(home: Home, parts: int) -> Made:
    """A whole retrain, done once for each number of parts."""
    if parts not in _MADE:
        labeled, snapshot = make_dataset(home, parts)
        challenger = train_challenger(home, snapshot, CONFIG)
        model = (home.root / challenger.path / "model.txt").read_bytes()
        decision = decide_about(home, snapshot, challenger, judge_challenger(home, snapshot, challenger, CONFIG), CONFIG)
        assert recompute_decision(read_registry_state(home), decision, cores=1) == []
        _MADE[parts] = Made(labeled, snapshot, challenger, decision, model)
    return _MADE[parts]


@pytest.mark.parametrize("parts", [2, 7])
def test_any_number_of_parts_gives_the_same_windows_snapshot_model_figures_and_verdict(home: Home, parts: int) -> None:
    one, several = made_of(home, 1), made_of(home, parts)
    assert (len(one.snapshot.parts), len(several.snapshot.parts)) == (1, parts)
    assert several.labeled.model_dump(exclude={"path", "recent"}) == one.labeled.model_dump(exclude={"path", "recent"})
    assert several.labeled.record_hash == one.labeled.record_hash
    assert several.labeled.duplicates_dropped == DAYS + OLDER_DAYS
    assert several.labeled.weak > 500
    assert several.snapshot.model_dump(exclude={"parts"}) == one.snapshot.model_dump(exclude={"parts"})
    assert several.snapshot.rows["older"] > 100
    assert several.model == one.model
    assert several.challenger.record_hash == one.challenger.record_hash
    assert several.challenger.files == one.challenger.files
    ours, theirs = (made.decision.model_dump(mode="json") for made in (several, one))
    assert {name: ours[name] for name in ours if ours[name] != theirs[name]} == {}


def test_one_part_has_what_one_frame_has(home: Home) -> None:
    whole = label_windows(home, as_of=AS_OF, settings=CONFIG.dataset)
    made = made_of(home, 7)
    assert whole.frame is not None
    assert frame_digest(whole.frame) == made.labeled.digest
    assert whole.record.label_fates == made.labeled.label_fates
    assert made.labeled.users_without_windows == ["nobody"]


def test_the_parts_are_ranges_of_users_and_a_large_user_is_one_alone(home: Home) -> None:
    _, snapshot = make_dataset(home, 7)
    assert [part.file for part in snapshot.parts] == [f"windows/part-{number:03d}.parquet" for number in range(7)]
    stored = open_snapshot(home, snapshot)
    users = [stored.load_part(number, ["user_id"])["user_id"].unique().tolist() for number in range(7)]
    assert users == [[f"user-{number}"] for number in range(7)]
    assert stored.sizes[0] > stored.sizes[1]
    assert sum(stored.sizes) == sum(snapshot.rows.values())
    assert [part.rows for part in snapshot.parts] == list(stored.sizes)


def test_the_model_of_several_parts_is_made_again_and_its_files_are_known(home: Home) -> None:
    _, snapshot = make_dataset(home, 3)
    challenger = train_challenger(home, snapshot, CONFIG)
    assert reproduce(home, home.root / challenger.path).same
    assert [finding.code for finding in check_registry(home) if "snapshot" in finding.code or "foreign" in finding.code] == []
    (home.root / snapshot.path / "windows" / "part-9.txt").write_text("mine", encoding="utf-8")
    assert any("part-9.txt" in finding.detail for finding in check_registry(home))


def test_rows_of_several_parts_are_known_to_a_later_run(home: Home) -> None:
    labeled, snapshot = make_dataset(home, 3)
    rows = read_snapshot_rows(home.root / snapshot.path)
    assert frame_digest(rows) == snapshot.dataset_digest
    again, _ = build_snapshot_parts(home, labeled, open_labeled_windows(home, labeled), config=CONFIG, holdout_fraction=0.2)
    assert save_snapshot(home, again, rows).parts == snapshot.parts  # intact, so it is kept
    assert find_skip_reason(home, rows, CONFIG) is None


def _change(path: Path) -> None:
    rows = pq.read_table(path).to_pandas()
    rows.loc[0, "keys_per_min"] += 1
    rows.to_parquet(path)


def test_a_damaged_part_is_not_read_and_the_next_run_writes_all_again(home: Home) -> None:
    labeled, snapshot = make_dataset(home, 3)
    path = home.root / snapshot.path / snapshot.parts[1].file
    for damage in (_change, Path.unlink, lambda path: path.write_bytes(b"PAR1")):
        damage(path)
        stored = open_snapshot(home, snapshot)
        assert len(stored.load_part(0)) == snapshot.parts[0].rows
        with pytest.raises(SnapshotError) as caught:
            stored.load()
        assert "part-001.parquet" in str(caught.value)
        _, rows = build_snapshot_parts(home, labeled, open_labeled_windows(home, labeled), config=CONFIG, holdout_fraction=0.2)
        assert save_snapshot(home, snapshot, rows).parts == snapshot.parts
        assert open_snapshot(home, snapshot).digest() == snapshot.dataset_digest


def test_a_snapshot_that_is_written_again_in_fewer_parts_has_no_others(home: Home) -> None:
    _, snapshot = make_dataset(home, 3)
    rows = read_snapshot_rows(home.root / snapshot.path)
    (home.root / snapshot.path / snapshot.parts[0].file).write_bytes(b"PAR1")
    assert len(save_snapshot(home, snapshot, rows).parts) == 1
    assert [path.name for path in (home.root / snapshot.path / "windows").iterdir()] == ["part-000.parquet"]


def test_violations_in_several_parts_are_those_of_one_frame_and_nothing_is_stored(home: Home, tmp_path: Path) -> None:
    copy = Home(Path(shutil.copytree(home.root, tmp_path / "home", ignore=shutil.ignore_patterns("artifacts"))))
    for back in (3, 1):
        day = (AS_OF - back * DAY).date()
        rows = pq.read_table(copy.features("v1") / f"date={day}" / "features.parquet", partitioning=None).to_pandas()
        rows.loc[[2, 5], "keys_per_min"] = -1.0
        rows.loc[7, "app_entropy_5m"] = -1.0
        rows.loc[4, "bucket_end_ts"] += pd.Timedelta(seconds=1)
        write_day(copy, day, rows)
    records = [
        store_labeled_windows(copy, as_of=AS_OF, settings=CONFIG.dataset, part_windows=windows).record for windows in (1_000_000, 800)
    ]
    assert len(records[0].violations) == 6
    assert records[0] == records[1]
    assert not list(copy.labeled_windows.glob("*"))
