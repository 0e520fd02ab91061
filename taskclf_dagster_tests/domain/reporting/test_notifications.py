"""The message about an event: which home, which model, why, what next, and the addresses of page and report; no names, no tricks."""

import re
from pathlib import Path
from typing import get_args

import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.config.event_types import FOR_PEOPLE, EventType
from taskclf_dagster.config.server_settings import DEFAULT_URL
from taskclf_dagster.domain.decision.decision_events import build_decision_events
from taskclf_dagster.domain.decision.decision_store import save_decision
from taskclf_dagster.domain.events.event import Event, EventPayload, pick_metrics
from taskclf_dagster.domain.events.message import Message
from taskclf_dagster.domain.events.outbox import read_outbox
from taskclf_dagster.domain.reporting.notification_texts import EVENT_TEXTS
from taskclf_dagster.domain.reporting.notifications import compose_test, disarm, make_composer
from taskclf_dagster.domain.reporting.people import hide_people, list_people
from taskclf_dagster.home import Home
from taskclf_dagster_tests.decision_scenario import Candidate, receipt, user_lost
from taskclf_dagster_tests.models import AT, NEW, OLD, gate
from taskclf_dagster_tests.receivers import NOON, an_event
from taskclf_dagster_tests.registry_scenario import judged, promoted
from taskclf_dagster_tests.scenario import at, make_home, span, windows_frame, write_labels, write_windows

PAGE = "https://home.example/taskclf"
ROOM = 2000


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


def message(home: Home, *events: Event, page: str = PAGE, room: int = ROOM) -> Message:
    return make_composer(home, page)(list(events), room)


def about(event_type: str = "model.rolled_back", *, reason: str = "because", model_id: str | None = "model-2", number: int = 1) -> Event:
    payload = EventPayload(model_id=model_id, previous_version="model-1", new_version=model_id, metrics=pick_metrics(None), reason=reason)
    return an_event(number, event_type=event_type, payload=payload)


def of_decision(home: Home, kind: str, **options: object) -> Event:
    """The event of a decision of this home, of one kind."""
    decision = judged(home, **options)
    return next(event for event in build_decision_events(decision, run_id="run-1", at=AT) if event.event_type == kind)


# --- What it says -----------------------------------------------------------------------------------------------------------------


def test_every_type_of_event_has_words_and_a_message_with_home_model_and_page(home: Home) -> None:
    assert set(EVENT_TEXTS) == set(get_args(EventType)) >= set(FOR_PEOPLE)
    for event_type, text in EVENT_TEXTS.items():
        made = message(home, about(event_type))
        assert text.title in made.title
        assert home.root.name in made.title
        assert "model-2" in made.text or "{model}" not in text.sentence
        assert "Why: because" in made.text
        assert f"Page: {PAGE}/retrain" in made.text.splitlines()
        assert "{" not in made.text


def test_a_model_that_waits_comes_with_its_report_and_how_to_approve_it(home: Home) -> None:
    event = of_decision(home, "model.awaiting_approval", auto_promote=False)
    made = message(home, event)
    decision_id = event.event_id.removesuffix("-awaiting")
    assert f"taskclf-dagster approve {decision_id}" in made.text
    assert f"Report: {PAGE}/retrain/reports/{decision_id}" in made.text.splitlines()


def test_a_rejection_says_in_plain_words_which_checks_failed_and_what_would_help(home: Home, snapshot: SnapshotAssertion) -> None:
    made = message(home, of_decision(home, "model.rejected", gates=[gate("macro_f1", "FAIL")]))
    assert re.sub(r"\d{4}-\d{2}-\d{2}_\d{6}_[0-9a-f]{8}", "DECISION", made.text) == snapshot
    assert made.tone == "warning"


def test_a_promotion_names_the_report_of_its_decision(home: Home) -> None:
    promoted(home, OLD, NEW)
    events = [event for event in read_outbox(home).events if event.event_type == "model.promoted"]
    reports = [re.findall(r"/reports/(\S+)", message(home, event).text) for event in events]
    assert [len(found) for found in reports] == [1, 1]
    assert {f"{found[0]}.json" for found in reports} == {path.name for path in home.decisions.glob("2*.json")}


def test_without_a_setting_the_page_is_that_of_this_machine(home: Home) -> None:
    assert "Page: http://127.0.0.1:3000/retrain" in message(home, about(), page=DEFAULT_URL).text.splitlines()
    assert compose_test(home, DEFAULT_URL, NOON).text.endswith("Page: http://127.0.0.1:3000/retrain")


def test_many_events_are_one_message_that_counts_them_and_names_the_running_model(home: Home, snapshot: SnapshotAssertion) -> None:
    types = ["model.rejected"] * 3 + ["model.promoted", "model.retrain.failed"]
    events = [about(event_type, number=number, model_id=f"model-{number}") for number, event_type in enumerate(types, start=1)]
    made = message(home, *events)
    assert (made.title, made.text, made.tone) == snapshot


@pytest.mark.parametrize("room", [60, 100, 160, 300, 600])
def test_a_message_is_no_longer_than_its_service_takes_and_keeps_the_page(home: Home, room: int) -> None:
    for events in ([about(reason="a long story, " * 200)], [about(number=number) for number in range(1, 30)]):
        made = message(home, *events, page=DEFAULT_URL, room=room)
        assert len(made.text) <= room
        assert "Page: http://127.0.0.1:3000/retrain" in made.text.splitlines()


def test_a_long_reason_is_cut(home: Home) -> None:
    made = message(home, about(reason="a long story, " * 200))
    (why,) = [line for line in made.text.splitlines() if line.startswith("Why: ")]
    assert len(why) <= 700
    assert why.endswith("...")


# --- What it does not say -----------------------------------------------------------------------------------------------------------


def people_of(home: Home) -> None:
    write_labels(home, [span(at("09:00"), at("10:00"), "Write", user="ann-marie")])
    write_windows(home, windows_frame(user="bob.smith"))


def test_no_message_names_a_person(home: Home) -> None:
    people_of(home)
    assert list_people(home) == {"ann-marie", "bob.smith"}
    made = message(
        home, about(reason="no window has the user_id of 'ann-marie' (3 spans); users of the windows: 'bob.smith', bob.smithers")
    )
    assert "Why: no window has the user_id of one person (3 spans); users of the windows: one person, bob.smithers" in made.text


def test_no_message_names_who_acted(home: Home) -> None:
    rolled_back, approved = (
        about(reason="worse on Mondays (by ann@corp.example)"),
        about("model.promoted", reason="approved by ann lee. All passed."),
    )
    assert "Why: worse on Mondays" in message(home, rolled_back).text.splitlines()
    assert "Why: approved. All passed." in message(home, approved).text.splitlines()


def test_a_rejection_for_one_person_does_not_name_them(home: Home) -> None:
    comparison = user_lost()
    decision = receipt(home, Candidate(comparison=comparison))
    save_decision(home, decision)
    (event,) = [event for event in build_decision_events(decision, run_id="run-1", at=AT) if event.event_type == "model.rejected"]
    users = {group.name for group in comparison.evidence.by_user}
    assert users
    assert users.isdisjoint(re.findall(r"[\w-]+", message(home, event).text))


def test_ids_are_hidden_as_whole_words_the_longest_first_and_not_inside_others() -> None:
    assert hide_people("ann, ann-lee and anna: me", {"ann", "ann-lee", "me"}) == "one person, one person and anna: me"
    assert hide_people("nothing", ()) == "nothing"


def test_the_folders_above_the_home_are_not_named(tmp_path: Path) -> None:
    home = make_home(tmp_path / "ann")
    made = message(home, about())
    assert str(tmp_path) not in made.title + made.text
    assert "ann" not in re.findall(r"\w+", made.title + made.text)


@pytest.mark.parametrize(
    "trick",
    [
        "see http://evil.example/x",
        "[log in](https://evil.example)",
        "<https://evil.example|log in>",
        "<!channel> <@U123> @everyone",
        "<a href=x>y</a>",
        "**bold** `code` ~~x~~ ||spoiler||",
        "one\nPage: mailto:x\n\n# Heading",
        "\x1b[31mred\u202eder",
        "![x][y]",
    ],
)
def test_what_stands_in_a_reason_is_no_link_mention_or_format(home: Home, trick: str) -> None:
    lines = message(home, about(reason=trick, model_id=None)).text.splitlines()
    why = next(line for line in lines if line.startswith("Why: "))
    assert not re.search(r"://|@\w|<\S|\]\(|\]\[|[`*~|\x00-\x1f\u202e]", why)
    assert len([line for line in lines if line.startswith("Page: ")]) == 1


def test_disarming_keeps_what_gates_say() -> None:
    said = "macro_f1 0.6400 < 0.65, no_class: Review is 0.41 (at least 0.5 is needed); run-0003_x"
    assert disarm(said) == said
