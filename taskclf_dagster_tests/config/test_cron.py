"""Cron lines: which are taken, that Dagster takes all of those, and the words about the others."""

from datetime import UTC, datetime
from itertools import islice

import pytest
from dagster._utils.schedules import cron_string_iterator, is_valid_cron_schedule
from hypothesis import example, given, settings
from hypothesis import strategies as st

from taskclf_dagster.config.cron import check_cron

START = datetime(2026, 2, 4, tzinfo=UTC)
GOOD = [
    "0 6 * * *",
    "* * * * *",
    "*/15 8-18 1,15 * MON-FRI",
    "59 23 31 12 7",
    "*/90 * * * *",
    "5/20 0-23/2 */10 JAN-jun/2 mon,Wed,fri",
    "0 6 29 2 *",
    "0 6 29 FEB *",
    "0 6 29 2 MON",
    "0 6 29-31 2 *",
    "0 6 31 4,5 *",
    "0 6 31 * *",
    "0 6 31 *,2 *",
    "0 6 30 4,6,9,11 *",
    "*,5 * * * *",
    "05 06 01 02 03",
    "0 6 * * FRI-SUN",
    "0 6 * * 0-7",
    "0 6 * * SUN,7",
    "30 6 1 1 */2",
]
BAD = {
    "hello": "'hello' is no cron line of five fields (minute hour day month weekday), such as 0 6 * * *",
    "": "'' is no cron line of five fields",
    "0 6 * *": "'0 6 * *' is no cron line of five fields",
    "0 0 6 * * *": "'0 0 6 * * *' is no cron line of five fields",
    "@daily": "'@daily' is no cron line of five fields",
    "0 6 31 2 *": "day 31 of the cron line never comes: month 2 has at most 29 days, such as 28",
    "0 6 30 2 *": "day 30 of the cron line never comes: month 2 has at most 29 days",
    "0 6 30,31 feb *": "day 30,31 of the cron line never comes: month feb has at most 29 days",
    "0 6 31 4,6,9,11 *": "day 31 of the cron line never comes: month 4,6,9,11 has at most 30 days",
    "0 6 31 2,4 *": "day 31 of the cron line never comes: month 2,4 has at most 30 days",
    "0 6 31 4 MON": "day 31 of the cron line never comes",
    "0 6 31 2 MON": "day 31 of the cron line never comes",
    "*/0 * * * *": "minute */0 of the cron line must have a step of at least 1, such as 0,30 or */15",
    "*/x * * * *": "minute */x of the cron line must end in /n, a whole number, such as 0,30 or */15",
    "*/5/5 * * * *": "minute */5/5 of the cron line must end in /n",
    "*/ * * * *": "minute */ of the cron line must end in /n",
    "0 6 * * XYZ": "weekday XYZ of the cron line must be from 0 to 7, or SUN to SAT, such as 1 or MON-FRI",
    "0 6 * XYZ *": "month XYZ of the cron line must be from 1 to 12, or JAN to DEC, such as 1-6 or JAN,JUL",
    "0 6 * MON *": "month MON of the cron line must be from 1 to 12",
    "0 6 * * JAN": "weekday JAN of the cron line must be from 0 to 7",
    "0 6 MON * *": "day MON of the cron line must be from 1 to 31",
    "0 6 * * 1#2": "weekday 1#2 of the cron line must be",
    "0 6 L * *": "day L of the cron line must be",
    "0 6 ? * *": "day ? of the cron line must be",
    "H 6 * * *": "minute H of the cron line must be",
    "5-1 * * * *": "minute 5-1 of the cron line must not begin after its end, such as 0,30 or */15",
    "0 6 * * 6-0": "weekday 6-0 of the cron line must not begin after its end",
    "5-5 * * * *": "minute 5-5 of the cron line must be a range of more than one value: write 5",
    "59/5 * * * *": "minute 59/5 of the cron line must be a range of more than one value: write 59",
    "0 6 * * SUN-sun": "weekday SUN-sun of the cron line must be a range of more than one value: write SUN",
    ",,,, * * * *": "minute '' of the cron line must be from 0 to 59, such as 0,30 or */15",
    "1, * * * *": "minute '' of the cron line must be",
    "-5 * * * *": "minute '' of the cron line must be",
    "1-2-3 * * * *": "minute 2-3 of the cron line must be",
    "*-5 * * * *": "minute * of the cron line must be",
    "60 * * * *": "minute 60 of the cron line must be from 0 to 59",
    "0 24 * * *": "hour 24 of the cron line must be from 0 to 23",
    "0 8-24 * * *": "hour 24 of the cron line must be from 0 to 23",
    "0 6 0 * *": "day 0 of the cron line must be from 1 to 31",
    "0 6 32 * *": "day 32 of the cron line must be from 1 to 31",
    "0 6 * 0 *": "month 0 of the cron line must be from 1 to 12",
    "0 6 * 13 *": "month 13 of the cron line must be from 1 to 12",
    "0 6 * * 8": "weekday 8 of the cron line must be from 0 to 7",
    "\u0665 6 * * *": "minute \u0665 of the cron line must be from 0 to 59",
    f"{'9' * 5000} * * * *": "of the cron line must be from 0 to 59",
}


def ticks(line: str, count: int) -> list[datetime]:
    return list(islice(cron_string_iterator(START.timestamp(), line, "UTC"), count))


@pytest.mark.parametrize("line", GOOD)
def test_a_line_that_is_taken_is_one_that_dagster_takes_and_that_ticks(line: str) -> None:
    assert check_cron(line) == line
    assert is_valid_cron_schedule(line)
    assert ticks(line, 1)[0] >= START


@pytest.mark.parametrize(("line", "words"), BAD.items(), ids=[line[:20] for line in BAD])
def test_a_line_that_is_not_taken_is_an_error_that_names_value_field_and_rule(line: str, words: str) -> None:
    with pytest.raises(ValueError, match="cron line") as caught:
        check_cron(line)
    assert words in str(caught.value)


def test_spaces_between_fields_are_made_one() -> None:
    assert check_cron("  0 6\t*  * *\n") == "0 6 * * *"


def test_sunday_may_end_a_range_of_weekdays() -> None:
    assert [time.strftime("%a") for time in ticks(check_cron("0 6 * * FRI-SUN"), 4)] == ["Fri", "Sat", "Sun", "Fri"]


def elements(low: int, high: int, names: str = "") -> st.SearchStrategy[str]:
    one = st.integers(low, high).map(str) | st.sampled_from([*names.split(), str(low), str(high)])
    base = st.just("*") | one | st.builds("{}-{}".format, one, one)
    element = base | st.builds("{}/{}".format, base, st.integers(0, 100))
    return st.lists(element, min_size=1, max_size=3).map(",".join)


LINES = st.builds(
    "{} {} {} {} {}".format,
    elements(0, 59),
    elements(0, 23),
    elements(1, 31) | st.sampled_from(["29", "30", "31", "30,31"]),
    elements(1, 12, "JAN feb Jun DEC") | st.sampled_from(["2", "4", "2,11"]),
    elements(0, 7, "SUN mon Sat") | st.just("*"),
)


def takes(line: str) -> bool:
    try:
        return check_cron(line) == line
    except ValueError:
        return False


@settings(max_examples=400, deadline=None)
@given(LINES)
@example("0 6 29 2 *")
def test_whatever_is_taken_dagster_takes_too(line: str) -> None:
    if takes(line):
        assert is_valid_cron_schedule(line)
        assert ticks(line, 1)[0] >= START


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="0123456789*/,-LHRW#?@ monjansu", max_size=20).map(lambda text: f"{text} * * * *") | st.text(max_size=20))
def test_whatever_is_written_there_is_an_answer(line: str) -> None:
    if takes(line):
        assert is_valid_cron_schedule(line)
