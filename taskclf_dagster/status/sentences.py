"""The sentences about a home and its daemon that several summaries share."""

DAEMON_RUNS = "The daemon runs: schedules and sensors tick, and what is launched starts."


NO_DAEMON_RUNS = "No daemon is running, so nothing happens by itself, and what is launched waits: start `taskclf-dagster serve`."


def make_sentence(text: str) -> str:
    """Returns a text that begins with a capital letter, unless it begins with a name, and ends with a full stop."""
    first = text.partition(" ")[0]
    begin = f"{text[:1].upper()}{text[1:]}" if first.isalpha() and first != "taskclf" else text
    return begin if begin.endswith((".", "!", "?")) else f"{begin}."
