"""The hidden day of a person: task blocks, and the minutes that the machine records."""

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from taskclf_dagster.demo.columns import Ints, pick
from taskclf_dagster.demo.habits import (
    AWAY,
    BREAK,
    COMMUNICATE,
    DRIFT_DAYS,
    DRIFT_LIKING,
    LENGTH,
    MEET,
    MEETINGS_BY_WEEKDAY,
    ODDS,
    ODDS_CHANCE,
    ODDS_MINUTES,
    SESSION_GAP,
    STARTS,
)
from taskclf_dagster.demo.people import Person
from taskclf_dagster.domain.data.feature_schema import LABELS


@dataclass(frozen=True)
class Blocks:
    """The task blocks of a day, contiguous and in order; one entry a block.

    Attributes:
        start: first minute of the day.
        length: number of minutes.
        recorded: number of minutes in which the machine records; the first of the block.
        task: index of the label, or AWAY.
    """

    start: Ints
    length: Ints
    recorded: Ints
    task: Ints

    def __len__(self) -> int:
        return len(self.start)


@dataclass(frozen=True)
class Timeline:
    """The recorded minutes of one person's day, in order."""

    minute: Ints  # of the day
    block: Ints
    task: Ints
    session_row: Ints  # row of the session's first minute
    session_starts: npt.NDArray[np.bool_]


def plan_blocks(person: Person, rng: np.random.Generator, *, weekday: int, drifted: bool) -> Blocks:
    """Returns the blocks of a day."""
    goal = max(60, round(rng.normal(425, 20) if weekday < 5 else rng.normal(150, 25)))
    minute = person.start + int(rng.integers(-20, 21))
    turns = [person.start + 60, person.lunch - 75, person.lunch, person.lunch + 110, person.lunch + 220]
    liking = person.appetite * np.where(np.arange(len(LABELS)) == MEET, MEETINGS_BY_WEEKDAY[weekday], 1.0)
    if drifted:
        liking = liking * DRIFT_LIKING
    blocks: list[tuple[int, int, int, int]] = []
    done = np.zeros(len(LABELS))

    def add(length: int, recorded: int, task: int) -> None:
        nonlocal minute
        blocks.append((minute, length, recorded, task))
        minute += length
        done[task] += recorded

    lunched = False
    while done.sum() < goal and minute < 22 * 60:
        chance = rng.random()
        if minute >= person.lunch and not lunched:  # the screen locks, and after some minutes the machine sleeps
            add(int(rng.integers(30, 51)), int(rng.integers(7, 14)), BREAK)
            lunched = True
        elif chance < 0.14 and blocks:
            add(int(rng.integers(2, 26)), 0, AWAY)
            if chance < 0.03:  # a short look at the messages between two walks
                glance = int(rng.integers(1, 3))
                add(glance, glance, COMMUNICATE)
                add(int(rng.integers(7, 16)), 0, AWAY)
        weights = liking * STARTS[np.searchsorted(turns, minute, side="right")] / (1 + done / 20)
        weights[blocks[-1][3] if blocks and blocks[-1][3] != AWAY else BREAK] = 0  # nobody comes back only to have a break
        task = int(pick(weights.cumsum()[None, :] / weights.sum(), rng)[0])
        length = int(np.clip(rng.lognormal(np.log(LENGTH[task]), 0.4), 5, 55))
        add(length, length, task)
    return Blocks(*np.array(blocks).T)


def record_minutes(blocks: Blocks, day: date, rng: np.random.Generator, *, drift_from: date) -> Timeline:
    """Returns the recorded minutes of a day; in some of them the person does odds and ends instead of the block's task."""
    recorded, task = blocks.recorded, blocks.task
    block = np.repeat(np.arange(len(blocks)), recorded)
    minute = blocks.start[block] + np.arange(len(block)) - np.repeat(recorded.cumsum() - recorded, recorded)
    session_starts = np.diff(minute, prepend=-1000) > SESSION_GAP + 1
    session_row = np.maximum.accumulate(np.where(session_starts, np.arange(len(minute)), 0))
    unsettled = ODDS_CHANCE * (1 + 0.03 * min(max((day - drift_from).days + 1, 0), 2 * DRIFT_DAYS))
    drifting_off = np.convolve(rng.random(len(minute)) < unsettled, np.ones(ODDS_MINUTES))[: len(minute)] > 0
    doing = np.where(drifting_off & (task[block] != BREAK), ODDS, task[block])
    return Timeline(minute, block, doing, session_row, session_starts)
