"""Any two models side by side: equal, better, worse, or not to be told; wherever they lie; and nothing is written."""

import shutil
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.labeled_windows import label_windows
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot, build_snapshot, save_snapshot
from taskclf_dagster.domain.data.snapshot_rows import read_snapshot_rows
from taskclf_dagster.domain.decision.comparative_gates import COMPARATIVE_GATES
from taskclf_dagster.domain.models.challenger import build_challenger
from taskclf_dagster.domain.retraining.model_comparison import FIGURES, ModelComparison, compare_models, read_current_snapshot
from taskclf_dagster.domain.storage.files import write_json
from taskclf_dagster.errors import BundleError, RecordNotFoundError, SnapshotError, UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import contents, write_tiny_bundle
from taskclf_dagster_tests.registry_scenario import stamps
from taskclf_dagster_tests.scenario import AS_OF, DAY, add_learnable_days, learnable_home, make_home, retrain_config, write_labels

USERS, DAYS, LATER = 3, 8, 3
CONFIG = retrain_config(min_class_windows=10, min_windows=50, train_params={"num_boost_round": 15}, refit=False, max_leaked_share=1.0)
TINY = retrain_config(min_class_windows=10, train_params={"num_boost_round": 3, "num_leaves": 4}, refit=False)
SIDES = [("models", "rejected_models"), ("challengers", "pending_models"), ("pending_models", "models")]


@dataclass(frozen=True)
class Arena:
    """A home with a current snapshot and models that learned from other windows, from few, from shuffled labels, and from its test rows.

    Attributes:
        good: in models/.
        copy: the same files, in artifacts/challengers.
        shuffled: learned labels that somebody shuffled; in artifacts/rejected_models.
        seen: a few days later, when some of the test windows had become training windows; in artifacts/pending_models.
        all_seen: later still: it learned from all of them.
    """

    home: Home
    good: str
    copy: str
    shuffled: str
    seen: str
    all_seen: str

    def compare(self, first: str, second: str, config: RetrainConfig = CONFIG) -> ModelComparison:
        return compare_models(self.home, first, second, config=config, num_threads=1)


def _snapshot(home: Home, as_of: datetime) -> DatasetSnapshot:
    labeled, frame, *_ = label_windows(home, as_of=as_of, settings=CONFIG.dataset)
    assert frame is not None
    snapshot, rows = build_snapshot(home, labeled, frame, config=CONFIG)
    return save_snapshot(home, snapshot, rows)


def _train(home: Home, snapshot: DatasetSnapshot, config: RetrainConfig = CONFIG) -> str:
    about = {"cores": 1, "code_version": "0123456", "library_versions": {}}
    return build_challenger(
        home, snapshot, config=config, earlier=None, stopwatch=lambda: 0.0, on_progress=lambda _: None, **about
    ).model_id


def _shuffle_labels(home: Home) -> None:
    spans = pq.read_table(home.labels).to_pylist()
    labels = np.random.default_rng(1).permutation([row["label"] for row in spans])
    write_labels(home, [{**row, "label": str(label)} for row, label in zip(spans, labels, strict=True)])


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Arena:
    home = learnable_home(tmp_path_factory.mktemp("arena"), users=USERS, days=DAYS)
    labels = home.labels.read_bytes()
    _shuffle_labels(home)
    shuffled = _train(home, _snapshot(home, AS_OF))
    home.labels.write_bytes(labels)
    current = _snapshot(home, AS_OF)
    good = _train(home, current)
    copy = good[:-4] + "9999"
    shutil.copytree(home.challengers / good, home.challengers / copy)
    add_learnable_days(home, users=USERS, days=2 * LATER)
    seen, all_seen = (_train(home, _snapshot(home, AS_OF + days * DAY), TINY) for days in (LATER, 2 * LATER))
    for folder, model_id in ((home.models, good), (home.rejected_models, shuffled), (home.pending_models, seen)):
        folder.mkdir(parents=True, exist_ok=True)
        (home.challengers / model_id).rename(folder / model_id)
    write_json(home.records / "dataset_snapshot" / "latest.json", current.model_dump(mode="json"))
    return Arena(home, good, copy, shuffled, seen, all_seen)


@pytest.fixture(scope="module")
def clear(arena: Arena) -> ModelComparison:
    """A model beside one that learned nonsense."""
    return arena.compare(arena.good, arena.shuffled)


@pytest.fixture(scope="module")
def reversed_(arena: Arena) -> ModelComparison:
    """The same two, the other way round."""
    return arena.compare(arena.shuffled, arena.good)


def _figures(result: ModelComparison, of: str) -> dict[str, float | None]:
    return {pair.name: getattr(pair, of) for pair in result.figures}


# --- Equal --------------------------------------------------------------------------------------------------------------------------


def test_a_model_beside_its_own_copy_differs_by_exactly_nothing(arena: Arena) -> None:
    result = arena.compare(arena.good, arena.copy)
    assert result.verdict == "NO_CLEAR_DIFFERENCE"
    assert set(_figures(result, "absolute").values()) == {0.0}
    assert {value for value in _figures(result, "relative").values() if value is not None} == {0.0}
    assert result.comparison.evidence.interval == (0.0, 0.0)
    assert (result.comparison.flips.negative_share, result.comparison.flips.positive_share) == (0.0, 0.0)
    assert result.reason.startswith("Both models score the same")
    assert result.would_replace


def test_a_model_may_be_compared_with_itself(arena: Arena) -> None:
    result = arena.compare(arena.good, arena.good)
    assert (result.first, result.second, result.verdict) == (arena.good, arena.good, "NO_CLEAR_DIFFERENCE")


# --- Better and worse -----------------------------------------------------------------------------------------------------------------


def test_a_model_that_learned_something_is_clearly_better_than_one_that_learned_nonsense(clear: ModelComparison) -> None:
    assert (clear.verdict, clear.would_replace) == ("FIRST_BETTER", True)
    assert clear.comparison.evidence.interval is not None
    assert clear.comparison.evidence.interval[0] > 0
    assert _figures(clear, "absolute")["macro_f1"] > 0.3
    assert "better" in clear.reason


def test_the_other_way_round_it_is_clearly_worse_and_could_not_replace_it(reversed_: ModelComparison) -> None:
    assert (reversed_.verdict, reversed_.would_replace) == ("SECOND_BETTER", False)
    failed = {gate.name for gate in reversed_.factors if gate.status == "FAIL"}
    assert {"macro_f1_no_regression", "negative_flips"} <= failed


def test_exchanging_the_two_exchanges_every_figure_and_turns_every_difference(clear: ModelComparison, reversed_: ModelComparison) -> None:
    assert _figures(clear, "first") == _figures(reversed_, "second")
    assert _figures(clear, "second") == _figures(reversed_, "first")
    for name, value in _figures(clear, "absolute").items():
        assert _figures(reversed_, "absolute")[name] == pytest.approx(-value, abs=1e-15), name
    low, high = clear.comparison.evidence.interval or (0.0, 0.0)
    assert reversed_.comparison.evidence.interval == pytest.approx((-high, -low), abs=1e-12)
    assert clear.comparison.flips.negative == reversed_.comparison.flips.positive
    assert clear.comparison.exclusion.remaining == reversed_.comparison.exclusion.remaining


def test_the_same_question_has_the_same_answer(arena: Arena, clear: ModelComparison) -> None:
    assert arena.compare(arena.good, arena.shuffled).record_hash == clear.record_hash


# --- Figures --------------------------------------------------------------------------------------------------------------------------


def test_every_figure_is_there_with_its_direction_and_both_differences(clear: ModelComparison) -> None:
    assert [(pair.name, pair.better) for pair in clear.figures] == list(FIGURES.items())
    assert {"macro_f1", "weighted_f1", "accuracy", "macro_precision", "macro_recall", "one_vs_rest_auc", "multiclass_log_loss"} <= set(
        FIGURES
    )
    for pair in clear.figures:
        assert pair.first is not None, pair.name
        assert pair.second is not None, pair.name
        assert pair.absolute == pair.first - pair.second, pair.name
        assert pair.relative == pytest.approx(pair.absolute / pair.second), pair.name


def test_a_better_model_is_better_in_every_figure_that_has_a_direction(clear: ModelComparison) -> None:
    for pair in clear.figures:
        if pair.better != "neither" and pair.name != "expected_calibration_error":
            assert (pair.absolute > 0) is (pair.better == "higher"), pair.name


def test_the_figures_are_those_of_the_windows_that_are_compared(arena: Arena, clear: ModelComparison) -> None:
    macro = next(pair for pair in clear.figures if pair.name == "macro_f1")
    assert (macro.first, macro.second) == pytest.approx((clear.comparison.challenger_macro_f1, clear.comparison.champion_macro_f1))
    rows = read_snapshot_rows(arena.home.root / read_current_snapshot(arena.home).path, splits=("test",))
    assert clear.windows == len(rows) - clear.comparison.exclusion.excluded == clear.comparison.windows


def test_the_factors_are_the_comparative_gates_without_anchors_and_rollbacks(clear: ModelComparison) -> None:
    factors = {gate.name: gate.status for gate in clear.factors}
    assert list(factors) == [name for name in COMPARATIVE_GATES if name not in ("not_worse_than_anchor", "not_rolled_back")]
    assert factors["macro_f1_no_regression"] == "PASS"


# --- What cannot be told ----------------------------------------------------------------------------------------------------------------


def test_too_few_windows_say_nothing_and_how_many_are_missing(arena: Arena) -> None:
    result = arena.compare(arena.good, arena.shuffled, retrain_config(min_class_windows=10, min_windows=100_000, max_leaked_share=1.0))
    assert (result.verdict, result.would_replace) == ("INCONCLUSIVE", False)
    for part in (str(result.windows), "min_windows", "100000", str(100_000 - result.windows)):
        assert part in result.reason


def test_windows_that_one_of_the_two_learned_from_are_left_out_for_both(arena: Arena, clear: ModelComparison) -> None:
    result = arena.compare(arena.good, arena.seen)
    ours, theirs = result.comparison.exclusion.leakage
    assert (ours.model_id, ours.trained_on) == (arena.good, 0)
    assert (theirs.model_id, theirs.basis) == (arena.seen, "row_hashes")
    assert theirs.trained_on > 100
    assert result.windows == clear.comparison.exclusion.windows - theirs.trained_on - theirs.neighbors
    assert 0 < result.windows < clear.windows


def test_where_too_many_were_learned_from_only_newer_ones_count(arena: Arena) -> None:
    strict = retrain_config(min_class_windows=10, min_windows=50, max_leaked_share=0.1)
    result = arena.compare(arena.good, arena.seen, strict)
    exclusion = result.comparison.exclusion
    assert exclusion.only_newer
    assert exclusion.newer_than == max(report.trained_until for report in exclusion.leakage)
    assert result.windows < arena.compare(arena.good, arena.seen).windows


@pytest.mark.parametrize("turned", [False, True], ids=["as the second", "as the first"])
def test_a_model_that_learned_from_every_test_window_cannot_be_compared(arena: Arena, turned: bool) -> None:
    pair = (arena.all_seen, arena.good) if turned else (arena.good, arena.all_seen)
    result = arena.compare(*pair)
    assert (result.windows, result.verdict, result.would_replace) == (0, "INCONCLUSIVE", False)
    assert set(_figures(result, "absolute").values()) <= {None, 0.0}


# --- Where the models lie, and what is missing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "second"), SIDES)
def test_a_model_is_found_wherever_a_retrain_may_have_put_it(arena: Arena, first: str, second: str) -> None:
    lies = {"models": arena.good, "challengers": arena.copy, "rejected_models": arena.shuffled, "pending_models": arena.seen}
    result = arena.compare(lies[first], lies[second])
    assert (result.first, result.second) == (lies[first], lies[second])
    assert result.windows > 0


@pytest.mark.parametrize("name", ["2020-01-01_000000_run-0000", "../models", "", ".staging", "active.json"])
def test_an_unknown_model_is_told_by_its_name(arena: Arena, name: str) -> None:
    with pytest.raises(BundleError) as caught:
        arena.compare(arena.good, name)
    assert (caught.value.code, name in str(caught.value)) == ("not_found", True)
    assert arena.good in caught.value.reason
    assert ". " not in caught.value.reason


def test_a_home_without_a_snapshot_is_told_what_to_materialize(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    for name in ("m-1", "m-2"):
        write_tiny_bundle(home.models / name)
    with pytest.raises(RecordNotFoundError, match="dataset_snapshot"):
        compare_models(home, "m-1", "m-2", config=CONFIG, num_threads=1)


def _copied(arena: Arena, folder: Path) -> Arena:
    shutil.copytree(arena.home.root, folder / "home")
    return Arena(Home(folder / "home"), arena.good, arena.copy, arena.shuffled, arena.seen, arena.all_seen)


def test_a_snapshot_whose_file_is_gone_is_an_error_with_the_fix(arena: Arena, tmp_path: Path) -> None:
    other = _copied(arena, tmp_path)
    (other.home.root / read_current_snapshot(other.home).path / "windows" / "part-000.parquet").unlink()
    with pytest.raises(SnapshotError, match="dataset_snapshot"):
        other.compare(other.good, other.shuffled)


@pytest.mark.parametrize("content", ["{", "[]", '{"dataset_hash": 1}'])
def test_a_damaged_record_of_the_snapshot_is_an_error_with_the_file(arena: Arena, tmp_path: Path, content: str) -> None:
    other = _copied(arena, tmp_path)
    (other.home.records / "dataset_snapshot" / "latest.json").write_text(content, encoding="utf-8")
    with pytest.raises(UnreadableFileError, match=r"latest\.json"):
        other.compare(other.good, other.shuffled)


def test_a_bundle_that_does_not_load_is_an_error_with_its_folder(arena: Arena, tmp_path: Path) -> None:
    other = _copied(arena, tmp_path)
    (other.home.rejected_models / other.shuffled / "model.txt").write_text("tree", encoding="utf-8")
    with pytest.raises(BundleError, match=other.shuffled):
        other.compare(other.good, other.shuffled)


# --- It only looks ------------------------------------------------------------------------------------------------------------------------


def test_it_writes_nothing(arena: Arena) -> None:
    before = contents(arena.home.root), stamps(arena.home.root)
    for compare in (partial(arena.compare, arena.good, arena.shuffled), partial(arena.compare, arena.all_seen, arena.good)):
        compare()
    assert (contents(arena.home.root), stamps(arena.home.root)) == before
