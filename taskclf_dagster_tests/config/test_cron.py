"""Cron lines: which are taken, and that Dagster takes all of those and reads them alike."""

from datetime import UTC, datetime
from itertools import islice

import pytest
from croniter import croniter
from hypothesis import example, given, settings
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.config.cron import check_cron
from taskclf_dagster_tests.dagster_internals import CroniterShim, cron_string_iterator, is_valid_cron_schedule

START = datetime(2026, 2, 4, 0, 0, 30, tzinfo=UTC)
GOOD = [
    *("0 6 * * *", "* * * * *", "*/15 8-18 1,15 * MON-FRI", "59 23 31 12 7", "*/90 * * * *", "*,5 * * * *", "05 06 01 02 03"),
    *("5/20 0-23/2 */10 JAN-jun/2 mon,Wed,fri", "0 6 29 2 *", "0 6 29 FEB MON", "0 6 29-31 2 *", "0 6 31 4,5 *", "0 6 31 *,2 *"),
    *("0 6 30 4,6,9,11 *", "0 6 * * FRI-SUN", "0 6 * * 0-7", "0 6 * * SUN,7", "30 6 1 1 */2", "0 22-6 * * *", "0 6 * * 6-0"),
]
BAD = {
    "another number of fields": ["hello", "", "0 6 * *", "0 0 6 * * *", "@daily"],
    "a day that never comes": ["0 6 31 2 *", "0 6 30,31 feb *", "0 6 31 4,6,9,11 *", "0 6 31 2,4 *", "0 6 31 4 MON"],
    "a step that is none": ["*/0 * * * *", "*/x * * * *", "*/5/5 * * * *", "*/ * * * *"],
    "a name of another field": ["0 6 * * XYZ", "0 6 * XYZ *", "0 6 * MON *", "0 6 * * JAN", "0 6 MON * *"],
    "an extension": ["0 6 * * 1#2", "0 6 L * *", "0 6 15W * *", "0 6 ? * *", "H 6 * * *", "R 6 * * *", "0 6 * * L5"],
    "one value as a range": [
        "5-5 * * * *",
        "59/5 * * * *",
        "0 6 * * SUN-sun",
        "0 6 * * 7-7",
        "0 6 * * 7-0",
        "0 6 * * 1-MON",
        "05-5 * * * *",
        "0 6 1-7/10 * *",
    ],
    "no value": [",,,, * * * *", "1, * * * *", "-5 * * * *", "1-2-3 * * * *", "*-5 * * * *", "\u0665 6 * * *"],
    "out of bounds": ["60 * * * *", "0 24 * * *", "0 8-24 * * *", "0 6 0 * *", "0 6 32 * *", "0 6 * 0 *", "0 6 * 13 *", "0 6 * * 8"],
    "a number without end": [f"{'9' * 5000} * * * *"],
}


def ticks(line: str, count: int = 12) -> list[float]:
    return [time.timestamp() for time in islice(cron_string_iterator(START.timestamp(), line, "UTC"), count)]


def is_taken(line: str) -> bool:
    try:
        return check_cron(line) == line
    except ValueError:
        return False


def dagster_reads_it_alike(line: str) -> bool:
    """Whether Dagster takes a line, finds the same numbers in it, and ticks when the package croniter does."""
    plain = croniter(line, START)
    return (
        is_valid_cron_schedule(line)
        and CroniterShim.expand(line)[0] == croniter.expand(line)[0]
        and ticks(line) == [plain.get_next(float) for _ in range(12)]
    )


def test_a_line_that_is_taken_is_one_that_dagster_takes_and_reads_alike() -> None:
    assert [line for line in GOOD if not (is_taken(line) and dagster_reads_it_alike(line))] == []


@pytest.mark.parametrize("lines", BAD.values(), ids=BAD)
def test_another_line_is_refused(lines: list[str]) -> None:
    assert [line for line in lines if is_taken(line)] == []


def test_dagster_misreads_or_fails_on_lines_that_are_refused_although_croniter_takes_them() -> None:
    """Once Dagster reads these alike, their rules can go."""
    assert croniter.expand("5-5 * * * *") == croniter.expand("* * * * *")
    assert croniter.is_valid("59/5 * * * *")
    assert not dagster_reads_it_alike("59/5 * * * *")
    assert croniter.is_valid("0 6 31 4 MON")
    with pytest.raises(Exception, match=r".+"):
        ticks("0 6 31 4 MON")


def test_messages_name_value_bound_and_example(snapshot: SnapshotAssertion) -> None:
    messages = {}
    for line in ("0 6 * *", "0 25 * * *", "0 6 * * XYZ", "*/0 * * * *", "5-5 * * * *", "0 6 30,31 feb *", "1, * * * *"):
        with pytest.raises(ValueError, match="cron line") as caught:
            check_cron(line)
        messages[line] = str(caught.value)
    assert messages == snapshot


def test_spaces_between_fields_are_made_one() -> None:
    assert check_cron("  0 6\t*  * *\n") == "0 6 * * *"


def test_a_range_may_pass_the_end_of_its_field() -> None:
    days = [f"{datetime.fromtimestamp(time, UTC):%a}" for time in ticks(check_cron("0 6 * * FRI-SUN"), 4)]
    hours = [datetime.fromtimestamp(time, UTC).hour for time in ticks(check_cron("0 22-1 * * *"), 5)]
    assert (days, hours) == (["Fri", "Sat", "Sun", "Fri"], [1, 22, 23, 0, 1])


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


@settings(max_examples=300, deadline=None)
@given(LINES)
@example("0 6 29 2 *")
def test_whatever_is_taken_dagster_takes_and_reads_alike(line: str) -> None:
    assert not is_taken(line) or dagster_reads_it_alike(line)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="0123456789*/,-LHRW#?@ monjansu", max_size=20).map(lambda text: f"{text} * * * *") | st.text(max_size=20))
def test_whatever_is_written_there_is_an_answer(line: str) -> None:
    assert not is_taken(line) or is_valid_cron_schedule(line)
