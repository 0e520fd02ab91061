"""Changes of a YAML text: exactly the asked-for document, with every comment where the text can be changed in place."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from taskclf_dagster.config.yaml_edits import edit_yaml
from taskclf_dagster.config.yaml_files import flatten, parse_yaml

OWN = """\
# Settings of Ann
enabled: true   # since May

gates:
  # agreed in the team
  min_macro_f1: 0.6  # was 0.65

  min_weighted_f1: 0.7

# the rest
min_new_labels: 8
"""

PLACED: dict[str, tuple[str, dict[str, object], tuple[str, ...], str]] = {
    # what is changed: text, values, keys to unset, text afterwards
    "a value": (OWN, {"enabled": False}, (), OWN.replace("enabled: true ", "enabled: false ")),
    "an inner value": (OWN, {"gates.min_macro_f1": 0.55}, (), OWN.replace("0.6  #", "0.55  #")),
    "a new key": (OWN, {"auto_promote": True}, (), OWN + "auto_promote: true\n"),
    "a new inner key": (OWN, {"gates.min_class_precision": 0.4}, (), OWN.replace("0.7\n", "0.7\n  min_class_precision: 0.4\n")),
    "a new mapping": (OWN, {"schedule.cron": "0 7 * * *"}, (), OWN + 'schedule:\n  cron: "0 7 * * *"\n'),
    "a key that goes": (OWN, {}, ("min_new_labels",), OWN.replace("min_new_labels: 8\n", "")),
    "an inner key that goes": (OWN, {}, ("gates.min_weighted_f1",), OWN.replace("  min_weighted_f1: 0.7\n", "")),
    "the last inner key": ("# a\ngates:\n  min_macro_f1: 0.1\n# b\n", {}, ("gates.min_macro_f1",), "# a\n# b\n"),
    "a key that is not there": (OWN, {}, ("timeout_minutes", "schedule.cron"), OWN),
    "an empty text": ("", {"enabled": True}, (), "enabled: true\n"),
    "nothing but a comment": ("# later", {"gates.min_macro_f1": 0.5}, (), "# later\ngates:\n  min_macro_f1: 0.5\n"),
    "a value that is not written": ("schedule:\n  timezone:\n", {"schedule.timezone": "UTC"}, (), 'schedule:\n  timezone: "UTC"\n'),
    "no newline at the end": ("enabled: true", {"auto_promote": False}, (), "enabled: true\nauto_promote: false\n"),
    "braces": ("gates: {min_macro_f1: 0.1} # x\n", {"gates.min_macro_f1": 0.2}, (), "gates: {min_macro_f1: 0.2} # x\n"),
    "a new key in braces": ("gates: {a: 1} # x\n", {"gates.b": 2}, (), 'gates: {"a": 1, "b": 2} # x\n'),
    "a key in braces that goes": ("gates: {a: 1, b: 2} # x\n", {}, ("gates.a",), 'gates: {"b": 2} # x\n'),
    "quotes": ("schedule:\n  cron: '0 6 * * *' # c\n", {"schedule.cron": "*/5 * * * *"}, (), 'schedule:\n  cron: "*/5 * * * *" # c\n'),
}


def test_a_change_leaves_every_other_character_as_it_is() -> None:
    found = {}
    for name, (text, values, unset, expected) in PLACED.items():
        if (edited := edit_yaml(text, values, unset)) != expected:
            found[name] = edited
    assert found == {}


@pytest.mark.parametrize(
    ("text", "values", "document"),
    [
        ("a: &x 0.3\nb: *x\n", {"a": 0.5}, {"a": 0.5, "b": 0.3}),
        ("a: >\n  many\n  lines\nb: 1\n", {"a": True}, {"a": True, "b": 1}),
        ("---\na: 1\n...\n", {"b": 2}, {"a": 1, "b": 2}),
        ("a: 1\n", {"b": float("nan")}, None),
    ],
    ids=["an alias", "a block text", "an end of the document", "no number"],
)
def test_what_cannot_be_changed_in_place_is_written_anew_and_loses_no_key(
    text: str, values: dict[str, object], document: dict[str, object] | None
) -> None:
    parsed = parse_yaml(edit_yaml(text, values))
    assert isinstance(parsed, dict)
    assert set(parsed) == {"a", "b"}
    assert document is None or parsed == document


SCALARS = st.one_of(st.booleans(), st.integers(-1000, 1000), st.floats(0, 1), st.none(), st.text("az: #'\"*&{}[],-\n", max_size=6))
NAMES = st.sampled_from(["a", "b", "c", "d"])
DOCUMENTS = st.dictionaries(NAMES, st.one_of(SCALARS, st.dictionaries(NAMES, SCALARS, min_size=1)))
CHANGES = st.dictionaries(st.sampled_from(["a", "b", "c.a", "c.d", "e"]), SCALARS, max_size=3)


@given(DOCUMENTS, CHANGES, st.sets(st.sampled_from(["d", "d.a"]), max_size=1), st.booleans())
def test_whatever_the_text_the_result_is_the_asked_for_document(
    document: dict[str, object], values: dict[str, object], unset: set[str], in_braces: bool
) -> None:
    text = yaml.safe_dump(document, default_flow_style=in_braces)
    before, changed = _flat(text), {*values, *unset}
    expected = {key: value for key, value in before.items() if not any(_is_within(key, each) for each in changed)}
    if "d" in before:  # d.a of a scalar d is not there
        expected |= {key: value for key, value in before.items() if key == "d" and "d" not in unset}
    assert repr(sorted(_flat(edit_yaml(text, values, unset)).items())) == repr(sorted((expected | values).items()))


def _is_within(key: str, other: str) -> bool:
    return f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")


def _flat(text: str) -> dict[str, object]:
    parsed = parse_yaml(text) or {}
    assert isinstance(parsed, dict)
    return dict(flatten(parsed))
