"""A contender serves its share of batch scores: whole sessions, marked in every score, until the first sign of harm."""

import dataclasses
import json
import shutil
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

from taskclf_dagster.cli.main import main
from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.defs.display.score_metadata import scores_metadata
from taskclf_dagster.defs.display.trial_metadata import trials_metadata
from taskclf_dagster.domain.data.windows import read_windows_of_time
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.serving import ServingRecord, list_serving, read_serving, serving_path, write_serving
from taskclf_dagster.domain.decision.trial import write_trial
from taskclf_dagster.domain.events.outbox import event_path, read_outbox
from taskclf_dagster.domain.monitoring.contender_scores import score_contenders
from taskclf_dagster.domain.monitoring.day_scores import find_scoring_model, is_scored
from taskclf_dagster.domain.monitoring.score_files import contender_scores_path, read_scores, scores_path
from taskclf_dagster.domain.monitoring.score_marks import marks_agree
from taskclf_dagster.domain.monitoring.scored_days import ScoredDays, find_waiting_days, score_days, write_score_events
from taskclf_dagster.domain.monitoring.served_windows import Assignment, find_session_starts
from taskclf_dagster.domain.monitoring.sharing import open_sharing
from taskclf_dagster.domain.registry.retention import plan_prune
from taskclf_dagster.domain.trials.trial_step import show_trials
from taskclf_dagster.errors import TrialError
from taskclf_dagster.home import Home
from taskclf_dagster.status.trial_views import describe_trials
from taskclf_dagster_tests.faults.injection import kill_before
from taskclf_dagster_tests.scenario import AS_OF, DAY, copy_of, make_home, windows_frame, write_windows
from taskclf_dagster_tests.trial_scenario import CONFIG, HELD_AT, home_with_contender, live_on, look, trial_of

DAYS = [(HELD_AT + n * DAY).date() for n in range(4)]
WINDOWS = 320
"""Of a day: two users, 160 each."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Tried = tuple[Home, PromotionDecision]


def shared(share: float, **gates: float) -> RetrainConfig:
    return CONFIG.with_changes(trials={"challenger_share": share}, gates=gates)


HALF = shared(0.5)


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Tried:
    """A home with a trial that has begun, of a contender that is worse, and eight days with labels."""
    home, held = home_with_contender(tmp_path_factory.mktemp("tried"), worse=True)
    live_on(home, 8)
    look(home, 1)
    return home, held


@pytest.fixture
def home(tried: Tried, tmp_path: Path) -> Home:
    return copy_of(tried[0], tmp_path)


@pytest.fixture
def contender(tried: Tried) -> str:
    return tried[1].challenger.model_id


def score(home: Home, days: list[date] = DAYS, *, config: RetrainConfig = HALF, after: float = 4, replace: bool = False) -> ScoredDays:
    """Scores days as if it were some days after the trial began."""
    as_of = HELD_AT + after * DAY
    record = score_days(home, days, find_scoring_model(home), as_of=as_of, cores=1, replace=replace, config=config)
    write_score_events(home, record, run_id="score", at=as_of)
    return record


def served(home: Home, day: date, contender: str) -> pd.DataFrame:
    """The windows of a day by user, with the marks of both files."""
    ours = pd.read_parquet(scores_path(home, day))[["user_id", "session_id", "bucket_start_ts", "served"]]
    theirs = pd.read_parquet(contender_scores_path(home, day, contender))[["user_id", "bucket_start_ts", "served"]]
    return ours.merge(theirs, on=["user_id", "bucket_start_ts"], suffixes=("_champion", "_contender"), validate="1:1")


def stop_of(home: Home, contender: str) -> tuple[str, str] | None:
    record = read_serving(home, contender)
    assert record is not None
    return None if record.stop is None else (record.stop.cause, record.stop.reason)


def test_each_window_is_served_by_one_model_and_taskclf_asks_the_active_one(home: Home, contender: str) -> None:
    registry = {path: path.read_bytes() for path in home.models.rglob("*") if path.is_file()}
    record = score(home)
    champion, rule = record.model_id, Assignment(contender, 0.5, HELD_AT)
    users = 0
    for day, of_day in zip(DAYS, record.days, strict=True):
        marks = served(home, day, contender)
        assert len(marks) == WINDOWS
        assert (marks["served_champion"] != marks["served_contender"]).all()
        theirs = {str(user) for user in marks.loc[marks["served_contender"], "user_id"]}
        assert theirs == {user for user in ("user-0", "user-1") if rule.serves(user, day)}
        assert {model: n for model, n in of_day.served.items() if n} == {
            model: n for model, n in ((champion, WINDOWS - 160 * len(theirs)), (contender, 160 * len(theirs))) if n
        }
        users += len(theirs)
    assert 0 < users < 8
    assert record.served == {champion: WINDOWS * 4 - 160 * users, contender: 160 * users}
    assert len(read_scores(home, DAYS).frame) == 4 * WINDOWS  # live performance keeps every window of the active model
    assert {path: path.read_bytes() for path in home.models.rglob("*") if path.is_file()} == registry
    assert [day.outcome for day in score(home).days] == ["kept"] * 4
    before = [served(home, day, contender) for day in DAYS]
    score(home, replace=True)
    assert all(served(home, day, contender).equals(marks) for day, marks in zip(DAYS, before, strict=True))


def test_another_challenger_share_changes_who_serves_and_none_changes_nothing(home: Home, contender: str) -> None:
    assert score(home, config=CONFIG).served == {find_scoring_model(home).model_id: 4 * WINDOWS}
    assert not home.serving.exists()
    counts = []
    for share in (0.5, 0.2, 0.0):
        record = score(home, config=shared(share), replace=True)
        assert all(marks_agree(scores_path(home, day).parent) for day in DAYS)
        counts.append(record.served.get(contender, 0))
    assert counts[0] > counts[1] > counts[2] == 0
    assert [(each.share, each.stop) for each in list_serving(home)[0].values()] == [(0.0, None)]


@settings(max_examples=8, deadline=None)
@example(lengths=[1000, 600, 1700, 300], gaps=[0, 0, 0, 0], first=0, since_day=0)
@given(
    lengths=st.lists(st.integers(1, 1700), min_size=4, max_size=4),
    gaps=st.lists(st.integers(0, 400), min_size=4, max_size=4),
    first=st.integers(0, 1400),
    since_day=st.integers(0, 2),
)
def test_no_session_is_divided_also_if_it_lasts_over_midnight(
    tried: Tried, tmp_path_factory: pytest.TempPathFactory, lengths: list[int], gaps: list[int], first: int, since_day: int
) -> None:
    model, home = find_scoring_model(tried[0]).model, make_home(tmp_path_factory.mktemp("sessions"))
    assert model is not None
    begins = [AS_OF + timedelta(minutes=first + sum(lengths[:n]) + sum(gaps[:n])) for n in range(4)]
    frames = [windows_frame(user="ann", start=begins[n], n=lengths[n], session=str(n)) for n in range(4)]
    write_windows(home, *frames)
    since, found = AS_OF + since_day * DAY + timedelta(hours=5), {n: set[tuple[datetime, bool, bool]]() for n in range(4)}
    rules = Assignment("contender", 0.5, since), Assignment("contender", 1.0, since)
    for start in (AS_OF + n * DAY for n in range(1 + (begins[-1] + timedelta(minutes=lengths[-1]) - AS_OF) // DAY)):
        rows = read_windows_of_time(home, start=start, end=start + DAY, schema_version=model.schema.version)
        if len(rows):
            starts = find_session_starts(home, model, rows, start.date(), since=since)
            moments = [max(since, EPOCH + timedelta(microseconds=us)) for us in starts.tolist()]
            serves = zip(moments, *(rule.choose(rows, starts).tolist() for rule in rules), strict=True)
            for session, one in zip(rows["session_id"].astype(str), serves, strict=True):
                found[int(session)].add(one)
    for n, begin in enumerate(begins):
        assert found[n] == {(max(since, begin), begin >= since and rules[0].serves("ann", begin.date()), begin >= since)}


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_crash_between_the_files_of_a_day_has_it_scored_again(home: Home, contender: str, share: float) -> None:
    score(home, config=shared(0.5 - share))
    day = next(day for day in DAYS if Assignment(contender, 0.5, HELD_AT).serves("user-0", day))
    kill_before("replace", "/scores.parquet", home, lambda _: score(home, [day], config=shared(share), replace=True))
    assert not marks_agree(scores_path(home, day).parent)
    assert not is_scored(scores_path(home, day), day)
    assert day in find_waiting_days(home, find_scoring_model(home), now=HELD_AT + 5 * DAY, today=False)
    assert score(home, [day], config=shared(share)).days[0].outcome == "scored"
    marks = served(home, day, contender)
    assert (marks["served_champion"] != marks["served_contender"]).all()


def test_a_reject_rate_outside_the_bounds_stops_it_before_the_day_is_served(home: Home, contender: str) -> None:
    first, *others = [day for day in DAYS if score(home, [day]).served.get(contender)]
    rates = {day: float(pd.read_parquet(contender_scores_path(home, day, contender))["rejected"].mean()) for day in DAYS}
    assert rates[first] > 0
    score(home, [first], config=shared(0.5, max_reject_rate=rates[first]), replace=True)
    assert stop_of(home, contender) is None
    too_high = shared(0.5, max_reject_rate=rates[first] - 1e-9)
    none, start = shared(0.5, max_reject_rate=0.0), (first - HELD_AT.date()).days
    assert contender in score(home, [first], config=none, after=start + 9.8 / 24, replace=True).served  # fewer than 120 windows so far
    score(home, [first], config=none, after=start + 0.5, replace=True)
    assert stop_of(home, contender) is None  # the day is not over
    assert served(home, first, contender)["served_champion"].all()
    record = score(home, [first, *others], config=too_high, replace=True)
    assert contender not in record.served
    assert stop_of(home, contender) == (
        "reject_rate",
        f"it rejects {rates[first]:.1%} of the {WINDOWS} windows of {first}, and 0% to {rates[first]:.0%} are allowed",
    )
    assert all(marks_agree(scores_path(home, day).parent) for day in DAYS if scores_path(home, day).exists())
    (event,) = [event for event in read_outbox(home).events if event.event_type == "trial.serving_stopped"]
    assert (event.payload.model_id, "rejects" in str(event.payload.reason)) == (contender, True)
    event_path(home, event.event_id).unlink()  # delivered
    assert contender not in score(home, replace=True).served  # also with bounds that it keeps
    assert not event_path(home, event.event_id).exists()


def test_a_contender_that_does_not_load_leaves_the_day_to_the_active_model(home: Home, contender: str) -> None:
    (model_text,) = home.artifacts.rglob(f"{contender}/model.txt")
    kept = model_text.read_bytes()
    model_text.write_text("torn", encoding="utf-8")
    record = score(home)
    assert record.served == {record.model_id: 4 * WINDOWS}
    stop = stop_of(home, contender)
    assert stop is not None
    assert stop[0] == "not_usable"
    model_text.write_bytes(kept)
    assert contender not in score(home, replace=True).served


def test_probabilities_that_are_no_numbers_stop_it(home: Home, contender: str) -> None:
    scorer = find_scoring_model(home)
    sharing = open_sharing(home, scorer, HALF, as_of=HELD_AT + DAY, num_threads=1)
    assert sharing is not None
    rows = read_windows_of_time(home, start=HELD_AT, end=HELD_AT + DAY, schema_version=sharing.model.schema.version)
    booster = sharing.model.booster
    for leaf in range(booster.dump_model()["tree_info"][0]["num_leaves"]):
        booster.set_leaf_output(0, leaf, float("nan"))
    found = sharing.serve(DAYS[0], rows, HELD_AT + DAY)
    assert not found.windows.any()
    assert found.path is None
    stop = stop_of(home, contender)
    assert stop is not None
    assert stop[0] == "not_usable"


def test_labels_stop_it_earlier_than_they_end_its_trial(home: Home, tried: Tried, contender: str) -> None:
    look(home, 3)
    assert contender in score(home).served
    look(home, 4)
    assert trial_of(home, tried[1]).is_open
    assert contender not in score(home, replace=True).served
    stop = stop_of(home, contender)
    assert stop is not None
    assert stop[0] == "labels"
    assert stop[1].startswith("it is probably worse: -0.4")


def test_it_stops_with_its_trial_and_no_stop_is_taken_back(home: Home, contender: str) -> None:
    assert contender in score(home, after=3.5).served
    look(home, 4, config=CONFIG.with_changes(trials={"max_contenders": 0}))
    assert show_trials(home, as_of=HELD_AT).looks[0].serving is None  # it serves nothing, although no run has noted that
    record = score(home, [DAYS[3]])
    assert contender not in record.served
    assert marks_agree(scores_path(home, DAYS[3]).parent)
    stop = stop_of(home, contender)
    assert stop is not None
    assert stop[0] == "trial_over"
    stopped = list_serving(home)[0][contender]
    with pytest.raises(TrialError, match="taken back"):
        write_serving(home, stopped.model_copy(update={"stop": None}))
    shutil.rmtree(next(home.artifacts.rglob(f"{contender}/model.txt")).parent)
    going = {item.path for item in plan_prune(home, keep_versions=1, keep_rejected=0, at=HELD_AT + 20 * DAY).remove}
    assert str(serving_path(home, contender).relative_to(home.root)) in going


def test_only_the_newest_trial_beside_the_active_model_serves(home: Home, tried: Tried, contender: str) -> None:
    scorer = find_scoring_model(home)
    assert contender in score(home).served
    assert open_sharing(home, dataclasses.replace(scorer, model_id="another"), HALF, as_of=HELD_AT, num_threads=1) is None
    assert [each.sentence for each in list_serving(home)[0].values()] == ["serves no batch scores at present"]
    trial = trial_of(home, tried[1])
    older = trial.model_copy(update={"model_id": "older", "started_at": trial.started_at - DAY})
    write_trial(home, older)
    write_serving(home, ServingRecord(model_id="older", champion_id=scorer.model_id, share=0.5, since=HELD_AT))
    sharing = open_sharing(home, scorer, HALF, as_of=HELD_AT, num_threads=1)
    assert sharing is not None
    assert sharing.record.model_id == contender
    assert {name: each.share for name, each in list_serving(home)[0].items()} == {"older": 0.0, contender: 0.5}


def test_days_before_its_trial_are_left_alone_and_stop_nothing(home: Home, contender: str) -> None:
    day = (HELD_AT - 2 * DAY).date()
    record = score(home, [day], config=shared(0.5, max_reject_rate=0.0))
    assert record.served == {record.model_id: WINDOWS}
    assert stop_of(home, contender) is None
    assert not contender_scores_path(home, day, contender).exists()


def test_a_record_that_cannot_be_read_is_told_and_nothing_is_shared(home: Home, contender: str) -> None:
    score(home)
    serving_path(home, contender).write_text("torn", encoding="utf-8")
    record = score(home, replace=True)
    assert record.served == {record.model_id: 4 * WINDOWS}
    assert any(f"{contender}.json cannot be read" in warning for warning in record.warnings)


def test_other_scoring_leaves_files_with_served_windows_as_they_are(home: Home, contender: str) -> None:
    score(home, after=3.5)
    before = contender_scores_path(home, DAYS[3], contender).read_bytes()
    assert served(home, DAYS[3], contender)["served_contender"].any()
    score_contenders(home, DAYS, as_of=HELD_AT + 3.8 * DAY, num_threads=1)
    assert contender_scores_path(home, DAYS[3], contender).read_bytes() == before


def test_share_and_stop_are_shown(home: Home, contender: str, tmp_path: Path) -> None:
    config = tmp_path / "half.yaml"
    config.write_text(yaml.safe_dump({"trials": {"challenger_share": 0.1}, "gates": {"min_reject_rate": 0.0, "max_reject_rate": 1.0}}))
    run = partial(_run, home)
    said = run("score", "--from", str(DAYS[0]), "--config", str(config))
    assert f"{contender} serves 10 % of the user-days in batch scores" in said
    assert "served by" in said
    record = json.loads(run("score", "--date", str(DAYS[0]), "--config", str(config), "--json"))
    assert record["share"] == 0.1
    assert sum(record["days"][0]["served"].values()) == WINDOWS
    assert "serves 10 %" in run("trials")
    (model_text,) = home.artifacts.rglob(f"{contender}/model.txt")
    model_text.write_text("torn", encoding="utf-8")
    metadata = scores_metadata(score(home))
    report = show_trials(home, as_of=HELD_AT)
    shown = [
        run("trials"),
        run("trials", "--json"),
        str(metadata["serving"]),
        str(trials_metadata(report)["trials"].records[0].data["serving"]),
        str(describe_trials(home)[0].serving),
        run("status"),
    ]
    assert ["does not load" in text for text in shown] == [True] * 6


def _run(home: Home, command: str, *arguments: str) -> str:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(main, [command, "--home", str(home.root), *arguments])
    assert result.exit_code == 0, result.output
    return result.output
