"""Page tokens, sessions and wrong tokens, each with a clock of the test."""

import pytest

from taskclf_dagster.web import tokens
from taskclf_dagster.web.tokens import MAX_WRONG, SESSION_SECONDS, WRONG_SECONDS, PageTokens, Sessions, WrongTokens


class Clock:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_page_token_counts_twice_or_not_at_all() -> None:
    own = PageTokens()
    token, another = own.make(), own.make()
    assert own.is_pair(token, token)
    assert not own.is_pair(token, another)
    assert not own.is_pair(token, None)
    assert not own.is_pair(None, token)
    assert not own.is_pair("", "")


@pytest.mark.parametrize(
    "forge",
    [lambda token: token[:-1], lambda token: f"x{token}", lambda token: token.partition(".")[0], lambda _: "a.b", lambda _: "\udcff"],
)
def test_a_forged_page_token_is_none_even_if_it_is_there_twice(forge: object) -> None:
    own = PageTokens()
    forged = forge(own.make())  # type: ignore[operator]
    assert not own.is_pair(forged, forged)


def test_the_page_token_of_another_process_is_none() -> None:
    token = PageTokens().make()
    assert not PageTokens().is_pair(token, token)


def test_a_session_ends_after_its_time_or_when_it_is_ended() -> None:
    clock = Clock()
    sessions = Sessions(clock)
    first, second = sessions.begin(), sessions.begin()
    sessions.end(first)
    assert (sessions.holds(first), sessions.holds(second), sessions.holds(None), sessions.holds("")) == (False, True, False, False)
    clock.now += SESSION_SECONDS
    assert not sessions.holds(second)


def test_the_oldest_session_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MAX_SESSIONS", 2)
    sessions = Sessions(Clock())
    names = [sessions.begin() for _ in range(3)]
    assert [sessions.holds(name) for name in names] == [False, True, True]


def test_an_address_waits_after_many_wrong_tokens_and_no_other_does() -> None:
    clock = Clock()
    wrong = WrongTokens(clock)
    for _ in range(MAX_WRONG):
        assert not wrong.must_wait("one")
        wrong.add("one")
    assert (wrong.must_wait("one"), wrong.must_wait("other")) == (True, False)
    clock.now += WRONG_SECONDS
    assert not wrong.must_wait("one")


def test_addresses_are_forgotten_before_they_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MAX_ADDRESSES", 3)
    clock = Clock()
    wrong = WrongTokens(clock)
    for number in range(10):
        wrong.add(str(number))
    assert len(wrong._times) == 3
    clock.now += WRONG_SECONDS
    wrong.add("last")
    assert list(wrong._times) == ["last"]
