"""Goes round the homes within one tick: each in turn, in a bounded time, and none disturbs another.

A tick begins after the home at which the last one stopped, so that none is passed over. A home whose files do not answer is left
after HOME_SECONDS, and looked at again once they have; one that raises anything is reported. Nothing of Dagster is used here but requests.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import dagster as dg
from pydantic import ValidationError

from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.home import Home

HOME_SECONDS = 10.0
"""The longest time [s] that a tick waits for one home."""


MAX_REQUESTS = 10
"""The most runs that a tick requests, because Dagster makes each of them within it."""


@dataclass(frozen=True)
class HomeAnswer:
    """The answer of one home.

    Attributes:
        message: what was found, in one sentence.
        request: the run that is requested; None for none.
        state: the state to keep for this home; None if it stays as it was.
        is_problem: True if the home could not be looked at.
    """

    message: str
    request: dg.RunRequest | None = None
    state: str | None = None
    is_problem: bool = False


Evaluate = Callable[[str, Home, str | None], HomeAnswer]
"""Looks at one home, given its name and the state that was kept for it."""


class RoundCursor(Record):
    """The cursor of a sensor that goes round.

    Attributes:
        last: name of the home that was looked at last; None before the first.
        states: the state of each home.
    """

    last: str | None = None
    states: dict[str, str] = {}  # noqa: RUF012  # a field of pydantic, which copies it


@dataclass
class Round:
    """The result of a tick.

    Attributes:
        cursor: the cursor to store.
        answers: the answers by home, in the order in which the homes were looked at.
        left: number of homes that the next ticks look at.
    """

    cursor: RoundCursor
    answers: dict[str, HomeAnswer] = field(default_factory=dict)
    left: int = 0

    @property
    def requests(self) -> dict[str, dg.RunRequest]:
        return {name: answer.request for name, answer in self.answers.items() if answer.request is not None}

    @property
    def problems(self) -> dict[str, str]:
        return {name: answer.message for name, answer in self.answers.items() if answer.is_problem}


def read_cursor(text: str | None) -> RoundCursor:
    """Returns the stored cursor; a new one if there is none, or it cannot be read."""
    try:
        return RoundCursor.model_validate_json(text or "")
    except ValidationError:
        return RoundCursor()


class Walk:
    """The rounds of one sensor. It remembers homes that have not answered yet, for as long as its process lives."""

    def __init__(self) -> None:
        self._hanging: dict[str, threading.Thread] = {}

    def go_round(
        self,
        homes: Mapping[str, Home],
        cursor: RoundCursor,
        evaluate: Evaluate,
        *,
        listed: frozenset[str],
        seconds: float,
        stopwatch: Callable[[], float],
        home_seconds: float = HOME_SECONDS,
    ) -> Round:
        """Looks at the homes, beginning after the last one of the cursor, until the time is up or MAX_REQUESTS runs are requested.

        Args:
            homes: the homes that can be used, by name.
            cursor: the cursor of the last tick.
            evaluate: looks at one home.
            listed: names of all homes; the states of others are forgotten.
            seconds: time after which no further home is begun.
            stopwatch: a monotonic clock [s].
            home_seconds: the longest time to wait for one home [s].
        """
        names = sorted(homes)
        after = [name for name in names if cursor.last is None or name > cursor.last]
        ordered = after + names[: len(names) - len(after)]
        last, states = cursor.last, {name: state for name, state in cursor.states.items() if name in listed}
        result, begin = Round(cursor), stopwatch()
        for number, name in enumerate(ordered):
            if stopwatch() - begin >= seconds or len(result.requests) >= MAX_REQUESTS:
                result.left = len(ordered) - number
                break
            answer = result.answers[name] = self._ask(name, homes[name], states.get(name), evaluate, home_seconds)
            last = name
            if answer.state is not None:
                states[name] = answer.state
        result.cursor = RoundCursor(last=last, states=states)
        return result

    def _ask(self, name: str, home: Home, state: str | None, evaluate: Evaluate, seconds: float) -> HomeAnswer:
        """Returns the answer of one home, or the reason why there is none. Waits in a thread: a file that hangs cannot be interrupted."""
        earlier = self._hanging.get(name)
        if earlier is not None and earlier.is_alive():
            return HomeAnswer(f"its files have not answered since an earlier tick; {home.root}", is_problem=True)
        answers: list[HomeAnswer] = []
        thread = threading.Thread(target=lambda: answers.append(_evaluate(name, home, state, evaluate)), name=f"home-{name}", daemon=True)
        thread.start()
        thread.join(seconds)
        if answers:
            self._hanging.pop(name, None)
            return answers[0]
        self._hanging[name] = thread
        return HomeAnswer(f"its files did not answer within {seconds:g} s; {home.root}", is_problem=True)


def _evaluate(name: str, home: Home, state: str | None, evaluate: Evaluate) -> HomeAnswer:
    try:
        answer = evaluate(name, home, state)
        return replace(answer, message=answer.message.replace(str(home.root), "the home"))
    except Exception as error:  # whatever is wrong with one home, the others are looked at
        return HomeAnswer(f"{type(error).__name__}: {error}", is_problem=True)


def describe_round(result: Round, broken: Mapping[str, str]) -> str:
    """Returns one paragraph for a tick: how many homes, which runs, which problems, and the commonest of the other answers."""
    parts = [f"{len(result.answers)} of {len(result.answers) + result.left} homes looked at"]
    if result.requests:
        parts.append(f"runs requested for {', '.join(result.requests)}")
    for name, problem in sorted({**result.problems, **broken}.items()):
        parts.append(f"{name}: {problem}")
    others = [answer.message for answer in result.answers.values() if answer.request is None and not answer.is_problem]
    counts = sorted({message: others.count(message) for message in others}.items(), key=lambda pair: -pair[1])
    parts += [f"{count} times: {message}" for message, count in counts[:MAX_MESSAGES]]
    return "; ".join(parts)[:MAX_WORDS]


MAX_MESSAGES, MAX_WORDS = 5, 4000
"""The most that Dagster's page shows of a tick."""
