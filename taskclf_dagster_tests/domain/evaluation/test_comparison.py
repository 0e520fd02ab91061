"""Challenger beside champion: on the windows that both scored and neither learned from, by hand."""

from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.data.hashing import hash_row_keys
from taskclf_dagster.domain.data.snapshot_rows import label_codes
from taskclf_dagster.domain.evaluation.comparison import Comparison, compare, compare_with_anchor, derive_seed, find_inconsistencies
from taskclf_dagster.domain.evaluation.confusion import REJECTED, count_predictions
from taskclf_dagster.domain.evaluation.predictions import Predictions
from taskclf_dagster.domain.evaluation.scored_windows import ScoredWindows, add_training_distance
from taskclf_dagster.domain.models.bundle import ModelBundle, parse_bundle
from taskclf_dagster.domain.models.bundle_files import TRAINING_ROWS
from taskclf_dagster.errors import BundleError
from taskclf_dagster_tests.models import MID, NEW, OLD, duel_rows, named, some, write_tiny_bundle
from taskclf_dagster_tests.scenario import DAY, MONDAY, at, retrain_config

BREAK, BUILD, COMMUNICATE, DEBUG, MEET, READ, REVIEW, WRITE = range(8)

TRUE = [BREAK, BREAK, BREAK, BUILD, BUILD, BUILD, WRITE]
OURS = [BREAK, BREAK, BREAK, BUILD, BUILD, WRITE, WRITE]
THEIRS = [BREAK, BREAK, REJECTED, BUILD, BREAK, BREAK, WRITE]

Bundles = tuple[ModelBundle, ModelBundle]


def minutes(n: int, *, user: str = "alice") -> pd.DataFrame:
    """Consecutive windows of one user from nine o'clock on MONDAY, which no bundle of these tests learned from unless it is told to."""
    starts = pd.date_range(at("09:00"), periods=n, freq="min").as_unit("us")
    return pd.DataFrame({"user_id": pd.Categorical([user] * n), "bucket_start_ts": starts})


ROWS = minutes(7)


def predictions(rows: pd.DataFrame, true: list[int], said: list[int]) -> Predictions:
    return Predictions(hash_row_keys(rows), np.array(true, dtype=np.int64), np.array(said, dtype=np.int64))


def taken(model: Predictions, positions: list[int]) -> Predictions:
    """Some windows of a model, in this order."""
    return Predictions(model.key[positions], model.true[positions], model.predicted[positions])


CHALLENGER, CHAMPION = predictions(ROWS, TRUE, OURS), predictions(ROWS, TRUE, THEIRS)


def learned_from(folder: Path, rows: pd.DataFrame | None, *, model_id: str = MID, first: date = MONDAY, last: date = MONDAY) -> ModelBundle:
    """A bundle with the hashes of these training rows; None leaves only its training dates to go by."""
    dates = {"train_date_from": first.isoformat(), "train_date_to": last.isoformat()}
    bundle = write_tiny_bundle(folder / model_id, metadata=dates)
    if rows is None:
        (bundle / TRAINING_ROWS).unlink()
    else:
        np.save(bundle / TRAINING_ROWS, np.sort(hash_row_keys(rows)))
    return parse_bundle(bundle)


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    """Two models that learned from none of these windows."""
    folder = tmp_path_factory.mktemp("bundles")
    return learned_from(folder, minutes(3, user="nobody"), model_id=NEW), learned_from(folder, minutes(3, user="nobody"))


def fewest(n: int, **settings: object) -> RetrainConfig:
    """The shipped settings, with labels judged from n windows on."""
    return retrain_config(min_class_windows=n, **settings)


def rules(config: RetrainConfig) -> dict[str, Any]:
    """The part of a configuration that a comparison needs."""
    return {"settings": config.comparison, "min_class_windows": config.evaluation.min_class_windows}


def scored(rows: pd.DataFrame, challenger: Predictions, champion: Predictions, bundles: Bundles) -> tuple[ScoredWindows, ScoredWindows]:
    """Both models with how far the rows are from those that they were trained on."""
    return add_training_distance(rows, challenger, bundles[0]), add_training_distance(rows, champion, bundles[1])


def beside(
    bundles: Bundles,
    challenger: Predictions = CHALLENGER,
    champion: Predictions = CHAMPION,
    *,
    rows: pd.DataFrame = ROWS,
    config: RetrainConfig | None = None,
    seed: int = 7,
) -> Comparison:
    return compare(rows, *scored(rows, challenger, champion, bundles), **rules(config or fewest(3)), seed=seed)


# --- By hand ----------------------------------------------------------------------------------------------------------------------


def test_both_models_and_their_difference_by_hand(strangers: Bundles) -> None:
    found = beside(strangers)
    # Challenger: Break 2*3/(3+3), Build 2*2/(3+2). Champion: Break 2*2/(3+4), Build 2*1/(3+1). Write has one window: not judged.
    assert (found.windows, found.left_out, found.exclusion.excluded) == (7, 0, 0)
    assert (found.challenger_id, found.champion_id) == (NEW, MID)
    assert found.judged_labels == ["BreakIdle", "Build"]
    assert found.challenger_macro_f1 == pytest.approx((1 + 4 / 5) / 2)
    assert found.champion_macro_f1 == pytest.approx((4 / 7 + 1 / 2) / 2)
    assert found.macro_f1_delta == pytest.approx((1 + 4 / 5) / 2 - (4 / 7 + 1 / 2) / 2)
    assert found.f1_delta_by_label == {"BreakIdle": pytest.approx(1 - 4 / 7), "Build": pytest.approx(4 / 5 - 1 / 2)}


def test_flips_by_hand(strangers: Bundles) -> None:
    found = beside(strangers).flips
    # only the challenger: the rejected break, the build taken for a break; only the champion: none
    assert (found.windows, found.negative["Build"], found.negative["Write"]) == (7, 0, 0)
    assert (found.positive["BreakIdle"], found.positive["Build"], found.positive["Write"]) == (1, 1, 0)
    assert found.positive_share == 2 / 7


def test_the_counts_by_block_are_those_of_the_windows(strangers: Bundles) -> None:
    sums = beside(strangers).sums
    block = int(at("08:00").timestamp()) // 7200
    assert (sums.users, sums.blocks) == (["alice"], [(0, block)])
    # label, true, challenger right and named, champion right and named
    assert [cell[1:] for cell in sums.cells] == [(BREAK, 3, 3, 3, 2, 4), (BUILD, 3, 2, 2, 1, 1), (WRITE, 1, 1, 2, 1, 1)]


def test_the_difference_of_the_evidence_is_that_of_the_comparison(strangers: Bundles) -> None:
    rows = duel_rows()
    found = beside(strangers, named(rows, wrong=some(rows, 0.04)), named(rows, wrong=some(rows, 0.1)), rows=rows, config=fewest(30))
    assert found.evidence.difference == pytest.approx(found.macro_f1_delta)
    assert found.macro_f1_delta == pytest.approx(0.06)
    assert (found.evidence.windows, found.evidence.users, found.evidence.user_days) == (400, 2, 10)


def test_a_worse_challenger_has_a_negative_difference(strangers: Bundles) -> None:
    ahead, behind = (beside(strangers, *pair) for pair in ((CHALLENGER, CHAMPION), (CHAMPION, CHALLENGER)))
    assert ahead.macro_f1_delta is not None
    assert behind.macro_f1_delta == -ahead.macro_f1_delta < 0
    assert (behind.challenger_macro_f1, behind.champion_macro_f1) == (ahead.champion_macro_f1, ahead.challenger_macro_f1)


def test_a_rejected_window_is_wrong_and_nobodys_prediction(strangers: Bundles) -> None:
    rows = minutes(4)
    ours, theirs = predictions(rows, [BREAK] * 4, [BREAK, BREAK, REJECTED, BUILD]), predictions(rows, [BREAK] * 4, [BREAK] * 4)
    found = beside(strangers, ours, theirs, rows=rows, config=fewest(4))
    # 2 right of 4 true and 2 named
    assert found.challenger_macro_f1 == pytest.approx(2 * 2 / (4 + 2))
    assert found.champion_macro_f1 == 1


@pytest.mark.parametrize("seed", range(5))
def test_the_scores_are_those_of_an_evaluation_of_the_windows_that_remain(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = duel_rows({"ann": 4, "bob": 7})
    true = label_codes(rows).astype(np.int64)
    said = [np.where(rng.random(len(rows)) < 0.7, true, rng.integers(0, 9, len(rows))) for _ in range(2)]
    ours, theirs = (Predictions(hash_row_keys(rows), true, each) for each in said)
    bundles = learned_from(tmp_path, minutes(1), model_id=NEW), learned_from(tmp_path, rows.head(20))
    found = beside(bundles, ours, theirs, rows=rows, config=fewest(60, max_leaked_share=0.9))
    keep = (rows["user_id"] == "bob") | (rows["bucket_start_ts"] >= at("10:20"))  # 09:19, the last minute learned from, and an hour
    assert found.windows == keep.sum() < len(rows)
    judged = np.bincount(true[keep], minlength=8) >= 60
    assert found.judged_labels == [label for label, yes in zip(LABELS, judged, strict=True) if yes]
    for each, score in zip(said, (found.challenger_macro_f1, found.champion_macro_f1), strict=True):
        assert score == pytest.approx(count_predictions(true[keep], each[keep]).macro_f1(judged), abs=1e-15)


# --- The same twice ---------------------------------------------------------------------------------------------------------------


def test_a_model_beside_its_own_copy_differs_by_exactly_nothing_anywhere(strangers: Bundles) -> None:
    rng = np.random.default_rng(5)
    rows = duel_rows({"ann": 20, "bob": 17})
    true = label_codes(rows).astype(np.int64)
    model = Predictions(hash_row_keys(rows), true, np.where(rng.random(len(rows)) < 0.5, true, rng.integers(0, 9, len(rows))))
    copy = taken(model, rng.permutation(len(rows)).tolist())
    found = beside(strangers, model, copy, rows=rows, config=fewest(1))
    assert found.macro_f1_delta == 0.0
    assert found.challenger_macro_f1 == found.champion_macro_f1
    assert found.f1_delta_by_label == dict.fromkeys(LABELS, 0.0)
    assert (found.flips.negative_share, found.flips.positive_share) == (0.0, 0.0)
    evidence = found.evidence
    assert (evidence.difference, evidence.standard_error, evidence.interval, evidence.p_value) == (0.0, 0.0, (0.0, 0.0), 1.0)
    for group in (*evidence.by_label, *evidence.by_user):
        assert (group.difference, group.standard_error, group.p_value, group.adjusted_p) == (0.0, 0.0, 1.0, 1.0)


def test_equal_inputs_give_equal_records(strangers: Bundles) -> None:
    assert beside(strangers) == beside(strangers)


# --- Windows in common --------------------------------------------------------------------------------------------------------------


def test_the_order_of_windows_does_not_matter(strangers: Bundles) -> None:
    expected = beside(strangers)
    assert beside(strangers, champion=taken(CHAMPION, [6, 2, 4, 0, 1, 5, 3])) == expected
    assert beside(strangers, taken(CHALLENGER, [3, 6, 0, 5, 2, 1, 4])) == expected
    assert beside(strangers, rows=ROWS.iloc[[5, 1, 0, 2, 6, 3, 4]]) == expected


def test_windows_that_the_champion_lacks_leave_the_comparison_for_both(strangers: Bundles) -> None:
    # Without window 5, which the challenger has wrong: challenger Build 2*2/(2+2), champion Build 2*1/(2+1), Break 2*2/(3+3).
    found = beside(strangers, champion=taken(CHAMPION, [0, 1, 2, 3, 4, 6]), config=fewest(2))
    assert (found.windows, found.left_out) == (6, 1)
    assert found.challenger_macro_f1 == pytest.approx((1 + 1) / 2)
    assert found.champion_macro_f1 == pytest.approx((4 / 6 + 2 / 3) / 2)


def test_windows_that_only_the_champion_has_do_not_count(strangers: Bundles) -> None:
    longer = predictions(minutes(9), [*TRUE, BUILD, BUILD], [*THEIRS, BUILD, BUILD])
    assert beside(strangers, champion=longer) == beside(strangers)


@pytest.mark.parametrize(("least", "judged"), [(1, ["BreakIdle", "Build", "Write"]), (2, ["BreakIdle", "Build"]), (3, ["BreakIdle"])])
def test_labels_are_judged_by_their_windows_in_common(strangers: Bundles, least: int, judged: list[str]) -> None:
    found = beside(strangers, champion=taken(CHAMPION, [0, 1, 2, 3, 4, 6]), config=fewest(least))
    assert found.judged_labels == judged
    assert list(found.f1_delta_by_label) == judged


def test_without_a_judged_label_there_is_no_difference(strangers: Bundles) -> None:
    found = beside(strangers, config=fewest(4))
    assert (found.challenger_macro_f1, found.champion_macro_f1, found.macro_f1_delta) == (None, None, None)
    assert (found.judged_labels, found.f1_delta_by_label, found.windows) == ([], {}, 7)
    assert found.evidence.difference is None


@pytest.mark.parametrize("champion", [predictions(minutes(0), [], []), predictions(minutes(7, user="bob"), TRUE, THEIRS)])
def test_models_without_a_window_in_common_are_not_compared(strangers: Bundles, champion: Predictions) -> None:
    found = beside(strangers, champion=champion, config=fewest(1))
    assert (found.windows, found.left_out, found.macro_f1_delta) == (0, 7, None)


def test_a_comparison_is_read_back_from_json_as_it_was(strangers: Bundles) -> None:
    found = beside(strangers)
    assert Comparison.model_validate_json(found.model_dump_json()) == found


# --- What either learned from -------------------------------------------------------------------------------------------------------

LONG = minutes(200)
"""09:00 to 12:19."""


def long_run(wrong: slice) -> Predictions:
    """Breaks all along, some of them taken for a build."""
    said = np.full(200, BREAK, dtype=np.int64)
    said[wrong] = BUILD
    return Predictions(hash_row_keys(LONG), np.full(200, BREAK, dtype=np.int64), said)


@pytest.mark.parametrize("who", [0, 1], ids=["challenger", "champion"])
def test_windows_that_one_model_learned_from_and_the_hour_around_them_leave_the_comparison_for_both(tmp_path: Path, who: int) -> None:
    nothing, first_ten = minutes(1, user="nobody"), LONG.head(10)
    learned = [first_ten if i == who else nothing for i in range(2)]
    bundles = learned_from(tmp_path, learned[0], model_id=NEW), learned_from(tmp_path, learned[1])
    config = fewest(30, max_leaked_share=0.5)
    # In the first 70 minutes, which leave, the challenger is wrong all along; in the rest each model is wrong once.
    ours = long_run(slice(0, 71))
    theirs = long_run(slice(199, 200))
    found = beside(bundles, ours, theirs, rows=LONG, config=config)
    assert (found.windows, found.left_out, found.exclusion.excluded, found.exclusion.remaining) == (130, 0, 70, 130)
    assert not found.exclusion.only_newer
    assert [report.trained_on for report in found.exclusion.leakage] == [10 * (i == who) for i in range(2)]
    assert [report.neighbors for report in found.exclusion.leakage] == [60 * (i == who) for i in range(2)]
    assert found.macro_f1_delta == 0.0
    assert (sum(found.flips.negative.values()), sum(found.flips.positive.values())) == (1, 1)


def test_a_champion_without_hashes_loses_every_window_of_its_training_days(tmp_path: Path) -> None:
    rows = duel_rows({"ann": 5})  # five days from MONDAY on
    model = named(rows)
    bundles = learned_from(tmp_path, minutes(1, user="nobody"), model_id=NEW), learned_from(tmp_path, None, last=MONDAY)
    found = beside(bundles, model, model, rows=rows, config=fewest(1))
    assert found.exclusion.leakage[1].basis == "training_dates"
    assert (found.windows, found.exclusion.excluded) == (160, 40)
    assert found.evidence.user_days == 4


def test_without_hashes_other_training_dates_lose_nothing(tmp_path: Path) -> None:
    rows = duel_rows({"ann": 5})
    model = named(rows)
    long_ago = learned_from(tmp_path, None, first=date(2025, 1, 1), last=date(2025, 2, 1))
    bundles = learned_from(tmp_path, minutes(1, user="nobody"), model_id=NEW), long_ago
    assert beside(bundles, model, model, rows=rows, config=fewest(1)).windows == 200


@pytest.mark.parametrize(
    ("share", "windows", "newer"), [(0.35, 130, None), (0.3499, 20, datetime.combine(MONDAY + DAY, at("00:00").timetz()))]
)
def test_more_than_the_allowed_share_lost_leaves_only_windows_newer_than_both_trainings(
    tmp_path: Path, share: float, windows: int, newer: datetime | None
) -> None:
    # 70 of 200 windows are leaked; the last 20 are of the next day, which is after the training of both.
    starts = pd.concat([LONG["bucket_start_ts"].head(180), LONG["bucket_start_ts"].tail(20) + DAY], ignore_index=True)
    rows = LONG.assign(bucket_start_ts=starts)
    model = Predictions(hash_row_keys(rows), np.full(200, BREAK), np.full(200, BREAK))
    bundles = learned_from(tmp_path, minutes(1, user="nobody"), model_id=NEW), learned_from(tmp_path, rows.head(10))
    found = beside(bundles, model, model, rows=rows, config=fewest(1, max_leaked_share=share))
    assert (found.windows, found.exclusion.only_newer, found.exclusion.newer_than) == (windows, newer is not None, newer)
    assert found.exclusion.excluded == 200 - windows


def test_windows_that_one_could_not_score_and_windows_learned_from_are_counted_apart(tmp_path: Path) -> None:
    bundles = learned_from(tmp_path, minutes(1, user="nobody"), model_id=NEW), learned_from(tmp_path, LONG.head(1))
    model = long_run(slice(0, 0))
    lacking = taken(model, list(range(150)))
    found = beside(bundles, model, lacking, rows=LONG, config=fewest(1, max_leaked_share=0.9))
    assert (found.left_out, found.exclusion.windows, found.exclusion.excluded, found.windows) == (50, 150, 61, 89)


def test_a_bundle_that_is_invalid_is_an_error_and_not_a_comparison(tmp_path: Path, strangers: Bundles) -> None:
    folder = write_tiny_bundle(tmp_path / OLD)
    (folder / "metadata.json").unlink()
    with pytest.raises(BundleError, match="metadata"):
        beside((strangers[0], parse_bundle(folder)))


# --- Counts that contradict each other ------------------------------------------------------------------------------------------------


def test_a_comparison_that_was_computed_does_not_contradict_itself(tmp_path: Path, strangers: Bundles) -> None:
    assert find_inconsistencies(beside(strangers)) == []
    bundles = learned_from(tmp_path, minutes(1, user="nobody"), model_id=NEW), learned_from(tmp_path, LONG.head(1))
    leaked = beside(bundles, long_run(slice(0, 90)), long_run(slice(199, 200)), rows=LONG, config=fewest(1, max_leaked_share=0.9))
    assert leaked.exclusion.excluded == 61
    assert find_inconsistencies(leaked) == []
    assert find_inconsistencies(beside(strangers, champion=predictions(minutes(0), [], []))) == []


@pytest.mark.parametrize(
    ("part", "change", "words"),
    [
        ("exclusion", {"excluded": 1}, "the windows excluded and those that remain do not add up"),
        ("exclusion", {"excluded": 1, "remaining": 6}, "the windows that remain are not those compared"),
        ("flips", {"negative": {**dict.fromkeys(LABELS, 0), "Build": 1}}, "the flips are not the difference of what both have right"),
        ("sums", {"cells": [(0, BREAK, 3, 4, 4, 2, 4), (0, BUILD, 3, 2, 2, 1, 1), (0, WRITE, 1, 1, 2, 1, 1)]}, "more windows are right"),
        ("sums", {"cells": [(0, BREAK, 3, 3, 2, 2, 4), (0, BUILD, 3, 2, 2, 1, 1), (0, WRITE, 1, 1, 2, 1, 1)]}, "more windows are right"),
        ("sums", {"cells": [(0, BREAK, 4, 3, 3, 2, 4), (0, BUILD, 3, 2, 2, 1, 1), (0, WRITE, 1, 1, 2, 1, 1)]}, "are not those compared"),
    ],
)
def test_counts_that_contradict_each_other_are_found_and_named(
    strangers: Bundles, part: str, change: dict[str, object], words: str
) -> None:
    found = beside(strangers)
    changed = found.model_copy(update={part: getattr(found, part).model_copy(update=change)})
    assert any(words in finding for finding in find_inconsistencies(changed))


# --- Anchors ------------------------------------------------------------------------------------------------------------------------


def test_an_anchor_is_compared_by_point_figures_on_the_windows_both_share(strangers: Bundles) -> None:
    rows = duel_rows()
    ours, theirs = named(rows, wrong=some(rows, 0.1)), named(rows, wrong=some(rows, 0.04))
    found = compare_with_anchor(rows, *scored(rows, ours, theirs, strangers), ran_at=at("00:00"), **rules(retrain_config()))
    assert (found.model_id, found.ran_at, found.windows) == (MID, at("00:00"), 400)
    assert found.challenger_macro_f1 == pytest.approx(0.9)
    assert found.anchor_macro_f1 == pytest.approx(0.96)
    assert found.difference == pytest.approx(-0.06)
    assert ("-0.0600" in found.detail, "400" in found.detail) == (True, True)


def test_each_anchor_is_compared_on_its_own_windows(tmp_path: Path, strangers: Bundles) -> None:
    rows = duel_rows({"ann": 10}, days=5)
    ours, theirs = named(rows, wrong=(rows["bucket_start_ts"] < at("00:00", day=1)).to_numpy()), named(rows)
    learned = strangers[0], learned_from(tmp_path, rows[rows["bucket_start_ts"] < at("00:00", day=1)], model_id=OLD)
    all_windows, later = (
        compare_with_anchor(rows, *scored(rows, ours, theirs, bundles), ran_at=at("00:00"), **rules(retrain_config()))
        for bundles in (strangers, learned)
    )
    assert (all_windows.windows, later.windows) == (400, 320)
    assert all_windows.difference == pytest.approx(-0.2)
    assert later.difference == 0.0  # the challenger was wrong only where the anchor had learned


@pytest.mark.parametrize(("smallest", "decided"), [(400, True), (401, False)])
def test_too_few_windows_leave_an_anchor_undecided_and_say_why(strangers: Bundles, smallest: int, decided: bool) -> None:
    rows = duel_rows()
    config = retrain_config(min_windows=smallest)
    found = compare_with_anchor(rows, *scored(rows, named(rows), named(rows), strangers), ran_at=at("00:00"), **rules(config))
    assert (found.windows, found.difference) == (400, 0.0 if decided else None)
    assert ("+0.0000" in found.detail, "400" in found.detail) == (decided, True)


def test_an_anchor_on_which_no_label_can_be_judged_is_undecided(strangers: Bundles) -> None:
    rows = duel_rows()
    found = compare_with_anchor(rows, *scored(rows, named(rows), named(rows), strangers), ran_at=at("00:00"), **rules(fewest(51)))
    assert (found.windows, found.challenger_macro_f1, found.anchor_macro_f1, found.difference) == (400, None, None, None)


# --- The seed -------------------------------------------------------------------------------------------------------------------------

MODELS = [{"model.txt": "1" * 64, "metadata.json": "2" * 64}, {"model.txt": "3" * 64}]


def test_the_seed_comes_from_dataset_models_and_policy_and_from_nothing_else() -> None:
    policy = retrain_config().policy
    seed = derive_seed("0" * 64, MODELS, policy)
    assert seed == derive_seed("0" * 64, [dict(model) for model in MODELS], retrain_config().policy)
    others = {
        derive_seed("1" * 64, MODELS, policy),
        derive_seed("0" * 64, [{"model.txt": "9" * 64}, MODELS[1]], policy),
        derive_seed("0" * 64, [MODELS[0], {"model.txt": "9" * 64}], policy),
        derive_seed("0" * 64, MODELS[::-1], policy),
        derive_seed("0" * 64, MODELS, retrain_config(significance=0.04).policy),
    }
    assert len(others | {seed}) == 6
    assert 0 <= seed < 2**32


def test_the_seed_of_whole_floats_is_the_one_that_it_was_before_canonical_json_wrote_them_as_integers() -> None:
    policy = {"max_leaked_share": 1.0, "gates": {"min_macro_f1": 0.65, "ä": 0.0}, "min_windows": 300, "evidence_policy": "point"}
    assert derive_seed("0" * 64, MODELS, policy) == 1728024808


def test_timings_in_the_metadata_do_not_change_the_seed() -> None:
    slower = [{**MODELS[0], "metadata.json": "9" * 64}, MODELS[1]]
    assert derive_seed("0" * 64, slower, retrain_config().policy) == derive_seed("0" * 64, MODELS, retrain_config().policy)


def test_another_seed_gives_another_p_value_and_the_same_difference_and_interval(strangers: Bundles) -> None:
    rows = duel_rows()
    rng = np.random.default_rng(3)
    ours, theirs = (named(rows, wrong=rng.random(len(rows)) < share) for share in (0.1, 0.2))
    one, two = (beside(strangers, ours, theirs, rows=rows, config=retrain_config(), seed=seed) for seed in (1, 2))
    assert one.evidence.p_value != two.evidence.p_value
    assert (one.macro_f1_delta, one.evidence.interval) == (two.macro_f1_delta, two.evidence.interval)
