"""A message for a person about one or several events; `domain.reporting.notification_texts` writes it."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from taskclf_dagster.domain.events.event import Event

Tone = Literal["info", "success", "warning", "failure"]
"""The names that apprise has for the kinds of messages; some services show them as a color or a sign."""


class Message(NamedTuple):
    """A message as plain text.

    Attributes:
        title: one line.
        text: several lines.
        tone: whether it is good or bad news.
    """

    title: str
    text: str
    tone: Tone


Compose = Callable[[Sequence[Event], int], Message]
"""Writes the message about some events, oldest first, with at most so many characters in title and text."""
