"""Tests what to label next, on a few minutes written by hand."""

from datetime import UTC

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.evaluation.confusion import REJECTED
from taskclf_dagster.domain.evaluation.label_suggestions import (
    MAX_MINUTES,
    MAX_SUGGESTIONS,
    NOT_PREDICTED,
    RecentMinutes,
    Suggestion,
    suggest_labels,
)
from taskclf_dagster_tests.scenario import MINUTE, at

LETTERS = {"b": "Build", "d": "Debug", "w": "Write", "m": "Meet"}
ENOUGH = dict.fromkeys(LABELS, 10)


def part(
    user: str, clock: str, best: str, champion: str | None = None, *, day: int = 0, sure: float = 0.9, session: str = "s"
) -> pd.DataFrame:
    """Consecutive minutes: the challenger's best label by letter, in capitals where it rejects it; of the champion `-` where it rejects."""
    codes = [LABELS.index(LETTERS[letter.lower()]) for letter in best]
    return pd.DataFrame(
        {
            "user_id": user,
            "session_id": session,
            "bucket_start_ts": [at(clock, day=day) + i * MINUTE for i in range(len(best))],
            "best": codes,
            "predicted": [REJECTED if letter.isupper() else code for letter, code in zip(best, codes, strict=True)],
            "confidence": [0.3 if letter.isupper() else sure for letter in best],
            "champion": _codes(champion, len(best)),
            "labeled": False,
        }
    )


def _codes(champion: str | None, n: int) -> list[int]:
    if champion is None:
        return [NOT_PREDICTED] * n
    return [REJECTED if letter == "-" else LABELS.index(LETTERS[letter]) for letter in champion]


def labeled(minutes: pd.DataFrame) -> pd.DataFrame:
    return minutes.assign(labeled=True)


def suggest(*parts: pd.DataFrame, test: dict[str, int] | None = None, covered: bool = True) -> list[Suggestion]:
    """The suggestions; with `covered`, every user and day of the parts has a label at night, so that the day itself is no reason."""
    nights = [labeled(part(user, "00:00", "b", day=day)) for user in ("alice", "bob") for day in range(8)] if covered else []
    rows = pd.concat([*parts, *nights]).astype({"user_id": "category", "session_id": "category"})
    rows["bucket_start_ts"] = pd.DatetimeIndex(rows["bucket_start_ts"]).tz_convert(UTC)
    rows = rows.sort_values(["user_id", "bucket_start_ts"], ignore_index=True)
    minutes = RecentMinutes.from_rows(rows, champion=rows["champion"].to_numpy(), labeled=rows["labeled"].to_numpy())
    return suggest_labels(minutes, test_windows={**ENOUGH, **(test or {})}, min_class_windows=10)


def lines(found: list[Suggestion]) -> list[str]:
    return [f"{each.user_id} {each.start:%d %H:%M}-{each.end:%H:%M} {each.kind} {each.label}: {each.reason}" for each in found]


# --- Each reason --------------------------------------------------------------------------------------------------------------------


def test_time_that_looks_like_a_label_with_too_few_test_windows_is_suggested() -> None:
    found = suggest(part("alice", "09:00", "bbbmmmbmmmmbbb"), test={"Meet": 3})
    assert lines(found) == [
        "alice 05 09:03-09:11 unjudged_class Meet: "
        "Meet has 3 of the 10 test windows that judging needs, and the model guesses it in 7 of 8 minutes."
    ]
    assert found[0].confidence == pytest.approx(0.9)


def test_time_that_looks_like_a_label_that_can_be_judged_is_not() -> None:
    assert suggest(part("alice", "09:00", "mmmmmm")) == []


def test_time_that_both_models_reject_is_suggested() -> None:
    found = suggest(part("alice", "09:00", "bbBBBBBBbb", "bb------bb"))
    assert lines(found) == ["alice 05 09:02-09:08 unsure Build: Both models are unsure in all 6 minutes."]


def test_time_that_one_of_two_models_is_sure_of_is_not() -> None:
    assert suggest(part("alice", "09:00", "BBBBBB", "bbbbbb"), part("alice", "10:00", "bbbbbb", "------")) == []


def test_without_a_champion_the_time_that_the_challenger_rejects_is_suggested() -> None:
    assert lines(suggest(part("alice", "09:00", "WWWWW"))) == ["alice 05 09:00-09:05 unsure Write: The model is unsure in all 5 minutes."]


def test_time_that_the_models_disagree_about_is_suggested_with_both_labels() -> None:
    found = suggest(part("alice", "09:00", "bbbwwwww", "bbwdddww"))
    assert lines(suggest(part("alice", "09:00", "bwwwww", "bddddd"))) == [
        "alice 05 09:01-09:06 unsure Write: The models disagree in all 5 minutes, mostly Debug or Write."
    ]
    assert found == []  # of eight minutes only four


def test_a_day_without_any_label_is_suggested_by_the_part_that_the_model_is_least_sure_of() -> None:
    dull, doubtful = part("alice", "09:00", "bbbbbb", sure=0.95), part("alice", "14:00", "dddddd", sure=0.6)
    found = suggest(dull, doubtful, covered=False)
    assert lines(found) == ["alice 05 14:00-14:06 uncovered_day Debug: The day has no label yet."]


def test_the_days_without_any_label_come_from_the_newest_on_once_each() -> None:
    parts = [part("alice", clock, "b" * 70, day=day) for clock in ("09:00", "14:00") for day in (0, 2, 1)]
    assert [each.start.day for each in suggest(*parts, covered=False)] == [7, 6, 5]


def test_a_day_without_any_label_is_suggested_beside_another_reason_for_time_of_the_same_day() -> None:
    found = suggest(part("alice", "09:00", "mmmmmmmm"), part("alice", "10:00", "bbbbbbbb"), test={"Meet": 0}, covered=False)
    assert [(each.kind, each.start) for each in found] == [("unjudged_class", at("09:00")), ("uncovered_day", at("10:00"))]


def test_a_day_with_one_label_of_the_user_is_covered() -> None:
    assert suggest(part("alice", "09:00", "bbbbbb"), labeled(part("alice", "23:00", "b")), covered=False) == []
    assert len(suggest(part("alice", "09:00", "bbbbbb"), labeled(part("bob", "23:00", "b")), covered=False)) == 1


# --- Where a stretch begins and ends ----------------------------------------------------------------------------------------------


def test_labeled_minutes_are_never_within_a_stretch() -> None:
    found = suggest(part("alice", "09:00", "BBBBBB"), labeled(part("alice", "09:06", "BB")), part("alice", "09:08", "BBBBB"))
    assert [line.split(" ")[2] for line in lines(found)] == ["09:00-09:06", "09:08-09:13"]


def test_a_stretch_ends_with_the_session_and_at_a_missing_minute() -> None:
    found = suggest(
        part("alice", "09:00", "BBBBB"), part("alice", "09:05", "BBBBBB", session="t"), part("alice", "09:12", "BBBBB", session="t")
    )
    assert [line.split(" ")[2] for line in lines(found)] == ["09:05-09:11", "09:00-09:05", "09:12-09:17"]


def test_fewer_than_five_minutes_are_not_suggested_and_more_than_an_hour_is_divided() -> None:
    found = suggest(part("alice", "09:00", "BBBB"), part("alice", "10:00", "B" * (MAX_MINUTES + 1)))
    assert sorted(each.minutes for each in found) == [30, 31]


def test_suggestions_of_several_kinds_never_overlap() -> None:
    found = suggest(part("alice", "09:00", "MMMMMMMM"), part("bob", "09:00", "MMMMMMMM"), test={"Meet": 0}, covered=False)
    assert len(found) == 2
    assert {each.user_id for each in found} == {"alice", "bob"}


# --- Which ones, and in which order ------------------------------------------------------------------------------------------------


def test_no_user_and_no_kind_fills_the_list() -> None:
    alice = [part("alice", f"{hour:02}:00", "B" * 30, day=day) for hour in range(6, 22) for day in range(7)]
    few = [part("bob", "09:00", "BBBBB"), part("bob", "10:00", "mmmmm"), part("alice", "23:00", "mmmmm")]
    found = suggest(*alice, *few, test={"Meet": 0})
    assert len(found) == MAX_SUGGESTIONS
    kinds = [(each.kind, each.user_id) for each in found]
    assert kinds[:3] == [("unjudged_class", "alice"), ("unsure", "bob"), ("unjudged_class", "bob")]
    assert kinds[3:] == [("unsure", "alice")] * (MAX_SUGGESTIONS - 3)


def test_of_one_kind_the_stretch_with_most_doubtful_minutes_comes_first() -> None:
    found = suggest(part("alice", "09:00", "BBBBB"), part("alice", "10:00", "BBBBBBBB"), part("alice", "11:00", "BBBBBB"))
    assert [each.minutes for each in found] == [8, 6, 5]


def test_without_any_window_nothing_is_suggested() -> None:
    assert suggest(part("alice", "09:00", "b").iloc[:0], covered=False) == []


def test_a_suggestion_about_an_unknown_label_or_no_time_is_refused() -> None:
    (good,) = suggest(part("alice", "09:00", "BBBBB"))
    for change in ({"label": "Coffee"}, {"end": good.start}, {"end": "2026-01-05T09:05:00"}):
        with pytest.raises(ValidationError):
            Suggestion.model_validate({**good.model_dump(), **change})


def test_the_same_minutes_in_another_order_of_sessions_give_the_same_suggestions() -> None:
    parts = [part(user, f"{hour:02}:00", "BBBBBB", session=f"{user}{hour}") for user in ("bob", "alice") for hour in (9, 10, 11)]
    assert suggest(*parts) == suggest(*reversed(parts))
    assert np.unique([each.user_id for each in suggest(*parts)[:2]]).tolist() == ["alice", "bob"]
