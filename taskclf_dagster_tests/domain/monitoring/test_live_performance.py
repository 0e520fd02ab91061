"""Live performance: figures worked out by hand, what counts and what does not, and when the active model performs clearly worse."""

import json
import math
import shutil
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.data.label_projection import project_blocks_to_windows
from taskclf_dagster.domain.data.label_store import read_usable_spans
from taskclf_dagster.domain.data.windows import read_windows
from taskclf_dagster.domain.evaluation.performance_drops import performance_drop_path, read_performance_drop
from taskclf_dagster.domain.events.outbox import event_path, read_outbox
from taskclf_dagster.domain.models.bundle_files import METRICS
from taskclf_dagster.domain.monitoring.live_performance import LivePerformance, measure_live_performance, remember_performance_drop
from taskclf_dagster.domain.monitoring.performance_bars import PerformanceBar
from taskclf_dagster.errors import LabelColumnsError, UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import MID, NEW, OLD, edit_json, home_with_champion, point_at, write_tiny_bundle
from taskclf_dagster_tests.retrain_scenario import LATER, Learned
from taskclf_dagster_tests.scenario import AS_OF, DAY, MINUTE, make_home, retrain_config, span, weak, write_labels
from taskclf_dagster_tests.score_scenario import scores_frame, write_score_file, write_scores

NINE = AS_OF + timedelta(hours=9)
EVENING = AS_OF + timedelta(hours=20)
EVERY_LABEL = retrain_config(min_class_windows=1)
SAID = [*["Build"] * 4, "Write", *["Write"] * 3, "Build", "Write", "Meet", "Meet"]
"""On five minutes of Build, five of Write and two without a label; the last Write and the first Meet are rejected."""
SURE = [*[0.9] * 9, 0.5, 0.5, 0.9]


def _labels(start: datetime, *, user: str = "alice", provenance: str = "manual") -> list[dict[str, object]]:
    first, second = (start, start + 5 * MINUTE), (start + 5 * MINUTE, start + 10 * MINUTE)
    return [span(*times, label, user=user, provenance=provenance) for times, label in ((first, "Build"), (second, "Write"))]


def _day_by_hand(home: Home, **about: object) -> None:
    write_scores(home, scores_frame(SAID, start=NINE, confidence=SURE, **about))
    write_labels(home, _labels(NINE))


def _measure(home: Home, *, as_of: datetime = EVENING, config: RetrainConfig = EVERY_LABEL) -> LivePerformance:
    return measure_live_performance(home, as_of=as_of, config=config)


# --- Figures by hand --------------------------------------------------------------------------------------------------------------


def test_the_figures_of_a_day_are_those_worked_out_by_hand(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    _day_by_hand(home)
    (model,) = _measure(home).models
    figures = model.figures
    assert (model.model_id, model.judged_labels, model.user_days, model.left_out) == (MID, ["Build", "Write"], 1, 0)
    assert (figures.windows, figures.labeled, figures.support) == (12, 10, {"Build": 5, "Write": 5})
    # Build: 4 right of 5 said and 5 true, 8 / 10. Write: 3 right of 4 said and 5 true, 6 / 9.
    assert figures.f1 == pytest.approx({"Build": 0.8, "Write": 2 / 3})
    assert figures.macro_f1 == pytest.approx((0.8 + 2 / 3) / 2)
    assert figures.reject_rate == pytest.approx(2 / 12)
    # Seven are right with 0.9: 0.01 + 0.01 / 7 each. Two are wrong with 0.9: 0.81 + (1 - 0.1 / 7)^2 + 6 (0.1 / 7)^2 each. One is rejected
    # and would be right with 0.5: 0.25 + 0.25 / 7.
    assert figures.brier_score == pytest.approx((7 * (0.01 + 0.01 / 7) + 2 * 1.782857142857143 + 2 / 7) / 10)
    assert (model.standard_error, model.interval) == (None, None)


def test_each_day_and_user_has_figures_of_its_own_and_all_users_of_a_day_together(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    bob = scores_frame(["Build"] * 10, start=NINE, user="bob")
    write_scores(home, scores_frame(SAID, start=NINE, confidence=SURE), bob, scores_frame(["Write"] * 3, start=NINE - DAY))
    write_labels(home, [*_labels(NINE), *_labels(NINE, user="bob")])
    (model,) = _measure(home).models
    rows = {(each.day, each.user_id): each for each in model.by_day}
    today, yesterday = AS_OF.date(), (AS_OF - DAY).date()
    assert list(rows) == [(yesterday, None), (yesterday, "alice"), (today, None), (today, "alice"), (today, "bob")]
    assert (rows[yesterday, None].labeled, rows[yesterday, None].macro_f1, rows[yesterday, None].brier_score) == (0, None, None)
    assert rows[today, "alice"].macro_f1 == pytest.approx((0.8 + 2 / 3) / 2)
    # Bob: Build 5 right of 10 said and 5 true, 10 / 15; Write was never said.
    assert rows[today, "bob"].f1 == pytest.approx({"Build": 2 / 3, "Write": 0.0})
    # Together: Build 9 right of 15 said and 10 true, 18 / 25; Write 3 right of 4 said and 10 true, 6 / 14.
    assert rows[today, None].macro_f1 == pytest.approx((18 / 25 + 6 / 14) / 2)
    assert model.by_user["bob"].macro_f1 == pytest.approx(1 / 3)


def test_the_interval_is_over_user_days_as_worked_out_by_hand(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    said = {0: ["Build"] * 10, 1: [*["Build"] * 5, *["Meet"] * 5], 2: ["Build"] * 10}
    write_scores(home, *(scores_frame(each, start=NINE - day * DAY) for day, each in said.items()))
    write_labels(home, [span(NINE - day * DAY, NINE - day * DAY + 10 * MINUTE, "Build") for day in said])
    (model,) = _measure(home).models
    # T = 25 right, D = 30 true + 25 said = 55, F = 50 / 55; (2 t - F d) / D of the days: (20 - 20 F) / 55 twice, (10 - 15 F) / 55.
    f1 = 50 / 55
    days = [(20 - 20 * f1) / 55, (10 - 15 * f1) / 55, (20 - 20 * f1) / 55]
    error = math.sqrt(3 / 2 * sum(each * each for each in days))
    assert model.figures.macro_f1 == pytest.approx(f1)
    assert model.standard_error == pytest.approx(error)
    assert model.interval == pytest.approx((f1 - 4.302652729911275 * error, f1 + 4.302652729911275 * error))


def test_a_label_with_too_few_windows_is_not_judged(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_scores(home, scores_frame(["Build"] * 10, start=NINE))
    write_labels(home, [span(NINE, NINE + 7 * MINUTE, "Build"), span(NINE + 7 * MINUTE, NINE + 10 * MINUTE, "Write")])
    (model,) = _measure(home, config=retrain_config(min_class_windows=4)).models
    assert (model.judged_labels, model.figures.macro_f1) == (["Build"], pytest.approx(14 / 17))
    assert model.figures.f1["Write"] == 0.0


# --- What counts ------------------------------------------------------------------------------------------------------------------


def test_labels_that_arrive_after_the_scoring_are_joined_with_what_was_said_then(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_scores(home, scores_frame(SAID, start=NINE, confidence=SURE))
    before = _measure(home)
    assert (before.state, before.models[0].figures.labeled) == ("no_labels", 0)
    write_labels(home, _labels(NINE))
    assert _measure(home).models[0].figures.labeled == 10


def test_todays_model_plays_no_part(tmp_path: Path) -> None:
    """The figures are the same without any model, with another active model, and with a damaged one."""
    home = make_home(tmp_path)
    _day_by_hand(home)
    found = [_measure(home).models]
    write_tiny_bundle(home.models / NEW)
    point_at(home, NEW)
    assert _measure(home).active_model_id == NEW
    found.append(_measure(home).models)
    (home.models / NEW / "model.txt").write_text("nothing", encoding="utf-8")
    found.append(_measure(home).models)
    assert found[0] == found[1] == found[2]
    assert [model.model_id for model in found[0]] == [MID]


def test_each_model_has_the_windows_that_it_scored_in_the_order_of_their_use(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_scores(home, scores_frame(["Build"] * 10, start=NINE, model=MID), scores_frame(["Write"] * 10, start=NINE - DAY, model=OLD))
    write_labels(home, [*_labels(NINE), *_labels(NINE - DAY)])
    old, mid = _measure(home).models
    assert (old.model_id, mid.model_id) == (OLD, MID)
    assert (old.figures.f1, mid.figures.f1) == (pytest.approx({"Build": 0, "Write": 2 / 3}), pytest.approx({"Build": 2 / 3, "Write": 0}))


def test_weak_labels_decide_nothing(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_scores(home, scores_frame(["Build"] * 10, start=NINE))
    write_labels(home, [weak(NINE, NINE + 10 * MINUTE, "Write"), span(NINE, NINE + 2 * MINUTE, "Build")])
    (model,) = _measure(home).models
    assert (model.figures.labeled, model.figures.support) == (2, {"Build": 2})


def test_windows_that_the_model_may_have_learned_from_are_left_out(tmp_path: Path) -> None:
    """MID was made on 20 January at 06:00: what it said about a window before 07:00 of that day proves nothing."""
    home = make_home(tmp_path)
    seven = datetime.fromisoformat("2026-01-20T07:00:00+00:00")
    write_scores(home, scores_frame(["Build"] * 10, start=seven - 4 * MINUTE))
    write_labels(home, [span(seven - 4 * MINUTE, seven + 6 * MINUTE, "Build")])
    (model,) = _measure(home, as_of=seven + DAY).models
    assert (model.left_out, model.figures.windows, model.figures.labeled) == (4, 6, 6)


def test_a_model_without_a_time_in_its_id_counts_after_its_last_training_day_and_an_unknown_one_never(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_tiny_bundle(home.models / "mine", metadata={"train_date_from": "2026-01-20", "train_date_to": (AS_OF - DAY).date().isoformat()})
    write_scores(
        home,
        *(scores_frame(["Build"] * 10, start=NINE - day * DAY, model="mine") for day in (0, 1)),
        scores_frame(["Build"] * 10, start=NINE - 2 * DAY, model="nobody"),
    )
    write_labels(home, [row for day in range(3) for row in _labels(NINE - day * DAY)])
    found = {model.model_id: (model.left_out, model.figures.labeled) for model in _measure(home).models}
    assert found == {"nobody": (10, 0), "mine": (10, 10)}


def test_only_the_last_days_up_to_the_as_of_time_count(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_scores(home, *(scores_frame(["Build"] * 10, start=NINE - day * DAY) for day in range(4)))
    write_labels(home, [row for day in range(4) for row in _labels(NINE - day * DAY)])
    counts = {
        (days, as_of): _measure(home, as_of=as_of, config=retrain_config(min_class_windows=1, live_days=days)).models[0].figures.labeled
        for days in (2, 14)
        for as_of in (EVENING, NINE + 3 * MINUTE, EVENING - 2 * DAY)
    }
    assert list(counts.values()) == [20, 13, 20, 40, 33, 20]


def test_equal_scores_and_labels_give_an_equal_record_whatever_the_order_of_rows(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    _day_by_hand(home)
    first = _measure(home)
    (path,) = write_scores(home, scores_frame(SAID, start=NINE, confidence=SURE))
    write_score_file(path, scores_frame(SAID, start=NINE, confidence=SURE).sample(frac=1, random_state=3))
    write_labels(home, _labels(NINE)[::-1])
    again = _measure(home)
    assert again == first
    assert again.record_hash == first.record_hash
    assert LivePerformance.model_validate(json.loads(json.dumps(first.model_dump(mode="json")))) == first


def test_labels_are_counted_by_provenance_with_what_was_corrected(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_scores(home, scores_frame(SAID, start=NINE, confidence=SURE))
    first, second = _labels(NINE)
    write_labels(home, [{**first, "provenance": "suggested"}, second])
    by_provenance = _measure(home).models[0].by_provenance
    asked, own = by_provenance["suggested"], by_provenance["manual"]
    assert (asked.windows, asked.agreed, asked.corrected, asked.rejected) == (5, 4, 1, 0)
    assert (own.windows, own.agreed, own.corrected, own.rejected) == (5, 3, 1, 1)
    assert asked.macro_f1 == pytest.approx(8 / 9)


def test_a_home_without_scores_says_so(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_labels(home, _labels(NINE))
    record = _measure(home)
    assert (record.state, record.models, record.bars, record.dropped) == ("no_scores", [], [], False)
    assert record.summary == "No window from 2026-01-22 to 2026-02-04 (UTC) was scored, so there is nothing to compare with labels."


def test_a_damaged_day_is_named_and_the_others_count(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    _day_by_hand(home)
    (path,) = write_scores(home, scores_frame(SAID, start=NINE - DAY))
    path.write_bytes(b"PAR1 torn")
    record = _measure(home)
    assert [*record.damaged_days] == [(AS_OF - DAY).date()]
    assert record.models[0].figures.labeled == 10


def test_a_damaged_label_store_is_an_error_and_not_a_bad_model(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    _day_by_hand(home)
    pq.write_table(pq.read_table(home.labels).drop_columns(["label"]), home.labels)
    with pytest.raises(LabelColumnsError, match="label"):
        _measure(home)
    home.labels.write_bytes(b"torn")
    with pytest.raises(UnreadableFileError):
        _measure(home)


# --- Clearly worse ----------------------------------------------------------------------------------------------------------------


def _watched_home(folder: Path, *, days: int = 8, share: float = 1.0, swing: int = 1, test: float = 0.9, **test_figures: object) -> Home:
    """MID is active, with a test figure, and has this share of four labels right on so many days.

    `swing` is the number of windows of each label, of 20, by which a day is better or worse than the next.
    """
    home = home_with_champion(make_home(folder))
    figures = {"macro_f1": test, "judged_labels": ["Build", "Debug", "Meet", "Write"], **test_figures}
    edit_json(home.models / MID / METRICS, {"test": figures})
    frames, spans = [], []
    labels = ["Build", "Debug", "Meet", "Write"]
    for day in range(days):
        start = NINE - day * DAY
        right = round(20 * share) + swing * (day % 3 - 1 if 0 < share < 1 else 0)
        said = [label if minute < right else labels[(number + 1) % 4] for number, label in enumerate(labels) for minute in range(20)]
        frames.append(scores_frame(said, start=start))
        spans += [span(start + i * 20 * MINUTE, start + (i + 1) * 20 * MINUTE, label) for i, label in enumerate(labels)]
    write_scores(home, *frames)
    write_labels(home, spans)
    return home


WATCHED = retrain_config(min_class_windows=30)


def _test_bar(home: Home, config: RetrainConfig = WATCHED) -> PerformanceBar:
    (bar,) = (bar for bar in _measure(home, config=config).bars if bar.name == "test_figure")
    return bar


def test_a_model_that_does_as_well_as_on_its_test_split_holds(tmp_path: Path) -> None:
    home = _watched_home(tmp_path, share=0.9)
    bar, record = _test_bar(home), _measure(home, config=WATCHED)
    assert (bar.verdict, bar.bound, record.dropped) == ("holds", pytest.approx(0.81), False)
    assert bar.live == pytest.approx(record.models[0].figures.macro_f1)
    assert "is not clearly below its bars" in record.summary


def test_a_model_that_is_clearly_below_its_test_figure_has_dropped(tmp_path: Path) -> None:
    home = _watched_home(tmp_path, share=0.6)
    bar, record = _test_bar(home), _measure(home, config=WATCHED)
    assert (bar.verdict, record.dropped) == ("dropped", True)
    assert bar.interval is not None
    assert bar.interval[1] < 0
    assert "performs clearly worse than it should" in record.summary
    assert "0.9000 of its own test figure, less 10%: 0.8100" in bar.detail


def test_a_loss_that_the_days_do_not_agree_on_is_no_evidence(tmp_path: Path) -> None:
    bar = _test_bar(_watched_home(tmp_path, share=0.75, swing=5))
    assert bar.difference is not None
    assert bar.interval is not None
    assert bar.difference < 0 < bar.interval[1]
    assert bar.verdict == "holds"


@pytest.mark.parametrize(("days", "windows"), [(4, 300), (8, 641)])
def test_without_enough_user_days_or_windows_nothing_is_claimed(tmp_path: Path, days: int, windows: int) -> None:
    home = _watched_home(tmp_path, days=days, share=0.3)
    bar = _test_bar(home, retrain_config(min_class_windows=10, min_windows=windows))
    assert (bar.verdict, bar.windows) == ("not_judged", days * 80)
    assert f"at least 5 and {windows} are needed" in bar.detail
    assert _measure(home, config=retrain_config(min_class_windows=10, min_windows=windows)).dropped is False


def test_how_much_a_model_may_lose_is_a_setting(tmp_path: Path) -> None:
    home = _watched_home(tmp_path, share=0.75)
    verdicts = {drop: _test_bar(home, retrain_config(max_live_drop=drop)).verdict for drop in (0.0, 0.1, 0.2)}
    assert verdicts == {0.0: "dropped", 0.1: "dropped", 0.2: "holds"}


def test_the_test_figure_is_averaged_over_the_labels_that_are_judged_in_both(tmp_path: Path) -> None:
    scores = {"Build": 0.8, "Debug": 0.8, "Meet": 0.6, "Write": 0.6, "Review": 0.2}
    home = _watched_home(tmp_path, share=0.9, judged_labels=[*scores], f1=scores)
    bar = _test_bar(home)
    assert (bar.labels, bar.reference) == (["Build", "Debug", "Meet", "Write"], pytest.approx(0.7))


def test_a_test_figure_over_other_labels_is_not_compared(tmp_path: Path) -> None:
    """A bundle of an earlier version keeps only the mean over all of its labels."""
    home = _watched_home(tmp_path, share=0.3, judged_labels=["Build", "Debug", "Meet", "Write", "Review"])
    bar = _test_bar(home)
    assert bar.verdict == "not_judged"
    assert "not known without Review" in bar.detail


@pytest.mark.parametrize(
    ("test", "reason"), [(None, "has no test figure"), ({"macro_f1": 7, "judged_labels": []}, "cannot be read"), ("text", "cannot be read")]
)
def test_a_bundle_without_a_usable_test_figure_is_not_judged_by_it(tmp_path: Path, test: object, reason: str) -> None:
    home = _watched_home(tmp_path, share=0.3)
    edit_json(home.models / MID / METRICS, {"test": test})
    bar = _test_bar(home)
    assert bar.verdict == "not_judged"
    assert reason in bar.detail


# --- Beside the lookup table: a real model with its snapshot ------------------------------------------------------------------------


@pytest.fixture
def scored_home(learned: Learned, tmp_path: Path) -> tuple[Home, pd.DataFrame, str]:
    """A copy of a home with a promoted model, and the truth about the four days after it was made."""
    shutil.copytree(learned[0].root, tmp_path / "home")
    home = Home(tmp_path / "home")
    rows = read_windows(home, start=AS_OF, end=LATER, schema_version="v1", skip_unreadable_days=False).frame
    assert rows is not None
    return home, rows, learned[1].challenger.model_id


def _score(home: Home, rows: pd.DataFrame, said: Sequence[str], model: str) -> None:
    frames = [
        scores_frame(np.asarray(said)[list(own)], start=AS_OF, user=str(user), model=model, starts=list(rows["bucket_start_ts"].iloc[own]))
        for user, own in rows.groupby("user_id", observed=True).indices.items()
    ]
    write_scores(home, *frames)


def _truth(home: Home, rows: pd.DataFrame) -> list[str]:
    spans = read_usable_spans(home, start=AS_OF, end=LATER)
    return [LABELS[code] for code in project_blocks_to_windows(rows[["user_id", "bucket_start_ts"]], spans).label]


def test_a_model_below_the_table_of_its_own_training_windows_has_dropped(scored_home: tuple[Home, pd.DataFrame, str]) -> None:
    home, rows, model = scored_home
    truth = _truth(home, rows)
    _score(home, rows, truth, model)
    bars = {bar.name: bar for bar in _measure(home, as_of=LATER, config=WATCHED).bars}
    assert {name: bar.verdict for name, bar in bars.items()} == {"test_figure": "holds", "lookup_table": "holds"}
    table = bars["lookup_table"]
    assert (table.live, table.windows, table.user_days) == (1.0, len(rows), 8)
    assert table.reference is not None
    assert 0.1 < table.reference < 0.8  # apps are shared by labels
    _score(home, rows, [LABELS[(LABELS.index(label) + 1) % 8] for label in truth], model)
    wrong = {bar.name: bar for bar in _measure(home, as_of=LATER, config=WATCHED).bars}
    assert {name: bar.verdict for name, bar in wrong.items()} == {"test_figure": "dropped", "lookup_table": "dropped"}
    assert wrong["lookup_table"].reference == table.reference


def test_without_the_snapshot_there_is_no_table_and_the_reason_is_named(scored_home: tuple[Home, pd.DataFrame, str]) -> None:
    home, rows, model = scored_home
    _score(home, rows, _truth(home, rows), model)
    shutil.rmtree(home.snapshots)
    bars = {bar.name: bar for bar in _measure(home, as_of=LATER, config=WATCHED).bars}
    assert (bars["test_figure"].verdict, bars["lookup_table"].verdict) == ("holds", "not_judged")
    assert "there is no table to compare with" in bars["lookup_table"].detail


# --- The event and the file -------------------------------------------------------------------------------------------------------


def _remember(home: Home, *, at: datetime = EVENING) -> None:
    remember_performance_drop(home, _measure(home, config=WATCHED), run_id="r", at=at)


def test_a_drop_is_one_event_and_one_file_for_each_model(tmp_path: Path) -> None:
    home = _watched_home(tmp_path, share=0.6)
    _remember(home)
    (event,) = read_outbox(home).events
    assert (event.event_id, event.event_type, event.run_id) == (f"{MID}-performance-dropped", "performance.dropped", "r")
    assert (event.payload.model_id, event.payload.new_version) == (MID, None)
    assert event.payload.metrics["windows"] == 640
    assert "clearly below the bound" in (event.payload.reason or "")
    event_path(home, event.event_id).unlink()  # delivered
    _remember(home, at=EVENING + DAY)
    assert read_outbox(home).events == []
    drop = read_performance_drop(home, MID)
    assert drop is not None
    assert drop.found_at == EVENING


def test_a_crash_after_the_event_gives_the_same_event_again(tmp_path: Path) -> None:
    home = _watched_home(tmp_path, share=0.6)
    _remember(home)
    performance_drop_path(home, MID).unlink()
    _remember(home)
    assert len(read_outbox(home).events) == 1
    assert read_performance_drop(home, MID) is not None


def test_a_model_that_holds_leaves_no_trace(tmp_path: Path) -> None:
    home = _watched_home(tmp_path, share=0.9)
    _remember(home)
    assert read_outbox(home).events == []
    assert not home.performance_drops.exists()


# --- Simulation -------------------------------------------------------------------------------------------------------------------


def _simulate(home: Home, rng: np.random.Generator, accuracy: float) -> bool:
    """A fortnight of one person with three hours of labels a day in blocks of fifteen minutes, of which whole blocks go wrong."""
    frames, spans = [], []
    for day in range(14):
        start = NINE - day * DAY
        today = np.clip(accuracy + rng.normal(0, 0.05), 0, 1)
        true = rng.permutation(np.repeat(["Build", "Debug", "Meet", "Write"], 3))
        said: list[str] = []
        for number, label in enumerate(true):
            certain = np.clip(today + rng.normal(0, 0.15), 0, 1)
            said += [label if rng.random() < certain else str(rng.choice(["Build", "Debug", "Meet", "Write"])) for _ in range(15)]
            spans.append(span(start + number * 15 * MINUTE, start + (number + 1) * 15 * MINUTE, str(label)))
        frames.append(scores_frame(said, start=start))
    write_scores(home, *frames)
    write_labels(home, spans)
    return _measure(home, config=WATCHED).dropped


def test_no_drop_gives_no_alarm_and_a_real_one_does(tmp_path: Path) -> None:
    """20 fortnights each; a quarter of the predictions that are not certain are right by luck."""
    home = _watched_home(tmp_path, test=0.85)
    quiet = [_simulate(home, np.random.default_rng([1, number]), 0.80) for number in range(20)]
    worse = [_simulate(home, np.random.default_rng([2, number]), 0.55) for number in range(20)]
    assert sum(quiet) == 0
    assert sum(worse) == 20
