"""Writes the message about one or several events: which home, which model, why, what to do next, and the addresses of page and report.

The texts of each type are in `notification_texts`. A message leaves the machine: it names no person, and what stands in a reason can make
no link, mention or format of its own in a chat or mail program.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import read_decision
from taskclf_dagster.domain.events.event import Event
from taskclf_dagster.domain.events.message import Compose, Message
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.domain.reporting.notification_texts import CHANGES_MODEL, EVENT_TEXTS, NO_MODEL
from taskclf_dagster.domain.reporting.people import hide_people, list_people
from taskclf_dagster.domain.reporting.verdict_words import say_comparison, say_help, say_verdict
from taskclf_dagster.home import Home
from taskclf_dagster.shown_text import show_line

MAX_WHY = 700
"""Length of a reason in a message; the report has all of it."""


LEAST_WHY = 40
"""A reason that would be shorter than this is left out."""


MAX_TITLE = 120


_SEVERITY = ("failure", "warning", "success", "info")


_TRICKS = (
    (re.compile(r"://"), ": //"),  # no link
    (re.compile(r"@(?=\w)"), "@ "),  # no mention
    (re.compile(r"<(?=\S)"), "< "),  # neither a tag nor a mention of Slack
    (re.compile(r"\](?=[(\[])"), "] "),  # no link of Markdown
    (re.compile(r"[`*~|]"), " "),  # no format
)


_ACTOR = re.compile(r" \(by .*\)$|(?<=^approved) by .*?(?=\. )")
"""Whoever rolled back or approved over the API, as it stands in the reason."""


def make_composer(home: Home, address: str) -> Compose:
    """Returns a function that writes the messages of a home.

    Args:
        home: the taskclf home.
        address: the address of the server that people open, without / at its end.
    """

    def compose(events: Sequence[Event], room: int) -> Message:
        people = list_people(home)

        def make_safe(text: str) -> str:
            return disarm(hide_people(text, people))

        if len(events) == 1:
            return _compose_one(home, events[0], address, room, make_safe)
        return _compose_digest(home, events, address, room)

    return compose


def compose_test(home: Home, address: str, at: datetime) -> Message:
    """Returns a message that only shows that notifications arrive."""
    text = f"This is a test, sent at {_show_time(at)}. Notifications about {_name(home)} arrive here.\nPage: {address}/retrain"
    return Message(_shorten(f"taskclf: test ({_name(home)})", MAX_TITLE), text, "info")


def disarm(text: str) -> str:
    """Returns a text as one line in which no chat or mail program finds a link, a mention or a format."""
    text = show_line(" ".join(text.split()))
    for pattern, replacement in _TRICKS:
        text = pattern.sub(replacement, text)
    return " ".join(text.split())


def find_decision(home: Home, event: Event) -> PromotionDecision | None:
    """Returns the decision that an event is about, or that led to it; None if there is none, or it has no receipt."""
    number, _, rest = event.event_id.partition("-")
    if event.event_type in ("model.retrained", "model.rejected", "model.awaiting_approval"):
        return read_decision(home, event.event_id.rpartition("-")[0])
    if event.event_type == "model.promoted" and number.isdigit():
        for move in read_history(home).moves:
            if move.sequence == int(number) and (move.checksum or "").startswith(rest) and move.decision_id:
                return read_decision(home, move.decision_id)
    return None


def _compose_one(home: Home, event: Event, address: str, room: int, make_safe: Callable[[str], str]) -> Message:
    text, payload, decision = EVENT_TEXTS[event.event_type], event.payload, find_decision(home, event)
    names = {"model": disarm(payload.model_id or NO_MODEL), "before": disarm(payload.previous_version or NO_MODEL)}
    first = f"{text.sentence.format_map(names)} ({_show_time(event.occurred_at)})"
    next_step = f"Next: {make_safe(_say_next_step(event, decision))}"
    links = [f"Page: {address}/retrain", *([f"Report: {address}/retrain/reports/{decision.decision_id}"] if decision is not None else [])]
    lines, left = [first, *links], room - sum(len(line) + 1 for line in (first, *links))
    if len(next_step) < left:
        lines.insert(1, next_step)
        left -= len(next_step) + 1
    why = make_safe(_say_why(event, decision))
    if why and left > LEAST_WHY:
        lines.insert(1, _shorten(f"Why: {why}", min(MAX_WHY, left - 1)))
    return Message(_shorten(f"taskclf: {text.title} ({_name(home)})", MAX_TITLE), _fit(lines, room), text.tone)


def _say_why(event: Event, decision: PromotionDecision | None) -> str:
    if decision is None:
        return _ACTOR.sub("", event.payload.reason or "")
    return f"{say_verdict(decision, event.event_type == 'model.promoted')} {say_comparison(decision)}"


def _say_next_step(event: Event, decision: PromotionDecision | None) -> str:
    next_step = EVENT_TEXTS[event.event_type].next_step
    if decision is None:
        return next_step
    if event.event_type == "model.awaiting_approval":
        return f"{next_step} {decision.decision_id}"
    advice = say_help(decision)
    return f"{next_step} First of all: {advice[0]}" if advice and event.event_type == "model.rejected" else next_step


def _compose_digest(home: Home, events: Sequence[Event], address: str, room: int) -> Message:
    """Returns one message about many events: how many of each type, and which model runs since the last of them."""
    counts = Counter(event.event_type for event in events)
    begin, end = _show_time(events[0].occurred_at), _show_time(events[-1].occurred_at)
    running = next((event.payload.new_version for event in reversed(events) if event.event_type in CHANGES_MODEL), None)
    lines = [f"{len(events)} events waited to be sent. From {begin} to {end}:"]
    lines += [f"- {count} x {EVENT_TEXTS[event_type].title}" for event_type, count in counts.most_common()]
    lines += [f"The last change made {disarm(running)} the running model."] if running else []
    lines += [f"Page: {address}/retrain"]
    tone = min((EVENT_TEXTS[event_type].tone for event_type in counts), key=_SEVERITY.index)
    return Message(_shorten(f"taskclf: {len(events)} events ({_name(home)})", MAX_TITLE), _fit(lines, room), tone)


def _fit(lines: Sequence[str], room: int) -> str:
    """Returns the lines as a text; what does not fit is cut at the end, but the first address stays where there is room for it."""
    text = "\n".join(lines)
    if len(text) <= room:
        return text
    page = next(line for line in lines if line.startswith("Page: "))
    left = room - len(page) - 1
    return _shorten(lines[0], room) if left < 20 else f"{_shorten(lines[0], left)}\n{page}"


def _name(home: Home) -> str:
    """Returns the name of the home's folder; the folders above it may hold the name of a person."""
    return disarm(f"DEMO {home.root.name}" if home.is_demo else home.root.name)


def _show_time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else text[: max(0, length - 3)].rstrip() + "..."
