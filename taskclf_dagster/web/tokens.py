"""The secrets that browsers hold: tokens of a page, sessions of those who signed in, and how often a wrong token may be tried.

All of them end with the process: the key of the page's tokens is made anew, and sessions are in memory only.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable

SESSION_SECONDS = 12 * 3600.0

MAX_SESSIONS = 1000

MAX_WRONG = 10
"""The number of wrong tokens from one address within WRONG_SECONDS after which it has to wait."""

WRONG_SECONDS = 60.0

MAX_ADDRESSES = 10_000

_Clock = Callable[[], float]


class PageTokens:
    """Makes and checks the tokens with which a page of this server shows that it is one.

    A token is a random part and its signature. The page has it twice: in its text, which no other site can read, and in a cookie; a change
    needs both (double submit), and only this process can sign one, so a cookie that another site planted is no use.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def make(self) -> str:
        """Returns a new token."""
        text = secrets.token_urlsafe(16)
        return f"{text}.{self._sign(text)}"

    def is_own(self, token: str | None) -> bool:
        """Returns True if this process made the token."""
        text, separator, signature = (token or "").rpartition(".")
        return bool(separator) and _equal(signature, self._sign(text))

    def is_pair(self, header: str | None, cookie: str | None) -> bool:
        """Returns True if header and cookie hold the same token, and this process made it."""
        return header is not None and cookie is not None and _equal(header, cookie) and self.is_own(header)

    def _sign(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()


class Sessions:
    """The sessions of those who signed in."""

    def __init__(self, clock: _Clock = time.monotonic) -> None:
        self._clock, self._ends = clock, dict[str, float]()

    def begin(self) -> str:
        """Returns the name of a new session; beyond MAX_SESSIONS the oldest one ends."""
        self._ends = {name: end for name, end in self._ends.items() if end > self._clock()}
        while len(self._ends) >= MAX_SESSIONS:
            del self._ends[next(iter(self._ends))]
        name = secrets.token_urlsafe(32)
        self._ends[_digest(name)] = self._clock() + SESSION_SECONDS
        return name

    def holds(self, name: str | None) -> bool:
        """Returns True if there is such a session, and it has not ended."""
        return name is not None and self._ends.get(_digest(name), 0.0) > self._clock()

    def end(self, name: str | None) -> None:
        """Ends a session, if there is one."""
        self._ends.pop(_digest(name or ""), None)


class WrongTokens:
    """Counts wrong tokens by address, so that nobody tries many."""

    def __init__(self, clock: _Clock = time.monotonic) -> None:
        self._clock, self._times = clock, dict[str, list[float]]()

    def must_wait(self, address: str) -> bool:
        """Returns True if an address tried too many wrong tokens in the last minute."""
        return len(self._recent(address)) >= MAX_WRONG

    def add(self, address: str) -> None:
        """Counts a wrong token."""
        if len(self._times) >= MAX_ADDRESSES:
            self._times = {known: times for known in self._times if (times := self._recent(known))}
        if len(self._times) >= MAX_ADDRESSES:
            del self._times[next(iter(self._times))]
        self._times[address] = [*self._recent(address), self._clock()]

    def _recent(self, address: str) -> list[float]:
        since = self._clock() - WRONG_SECONDS
        return [moment for moment in self._times.get(address, []) if moment > since]


def is_token(given: str, token: str) -> bool:
    """Returns True if a token is the server's, in a time that does not depend on where they differ."""
    return _equal(given, token)


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(_hash(one), _hash(other))


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _digest(name: str) -> str:
    """Returns what a session is kept under, so that looking it up does not depend on where names differ."""
    return _hash(name).hex()
