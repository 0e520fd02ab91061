"""Hostile YAML is refused in our words and at once: alias bombs, depth, size, digits, and values that are not what their tag says."""

import time
from pathlib import Path

import pytest

from taskclf_dagster.config.yaml_files import MAX_BYTES, MAX_DEPTH, MAX_DIGITS, MAX_NODES, read_mapping
from taskclf_dagster.errors import SettingsError
from taskclf_dagster_tests.config.yaml_documents import everything_printed, kinds, load_error


def bomb(levels: int, times: int) -> str:
    lines = ["l0: &l0 [x]"]
    lines += [f"l{level}: &l{level} [{', '.join([f'*l{level - 1}'] * times)}]" for level in range(1, levels)]
    return "\n".join(lines)


HOSTILE = {
    "an alias bomb": bomb(9, 9),
    "a wide alias bomb": bomb(4, 60),
    "an alias bomb of mappings": "a: &a {k: v}\n"
    + "\n".join(f"b{n}: &b{n} {{x: *{'a' if not n else f'b{n - 1}'}, y: *a}}" for n in range(300)),
    "an alias within itself": "a: &a [*a]",
    "an alias within itself, deeper": "a: &a {b: {c: [*a]}}",
    "deep lists": "a: " + "[" * 900 + "]" * 900,
    "deep mappings": "\n".join(" " * n + "a:" for n in range(400)),
    "one level too deep": "a: " + "[" * MAX_DEPTH + "]" * MAX_DEPTH,
    "too many values": "a: [" + "1," * MAX_NODES + "]",
    "too many bytes": "#" * (MAX_BYTES + 1),
    "digits": "min_labels: " + "9" * 5_000,
    "digits of another base": "min_labels: 0x" + "f" * 5_000,
    "digits of a fraction": "min_improvement: 0." + "1" * 5_000,
    "one digit too many": "min_labels: " + "9" * (MAX_DIGITS + 1),
    "a day that is none": "min_labels: !!timestamp 2026-13-45",
    "a tag that does not fit": "min_labels: !!timestamp soon",
    "an empty number": "min_labels: !!int ''",
    "no truth": "min_labels: !!bool perhaps",
    "a number of no character": 'min_labels: "\\UFFFFFFFF"',
    "python": "min_labels: !!python/object/apply:os.system [ls]",
    "not utf-8": b"a: \xff\xfe".decode("latin-1") + "\x00",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_yaml_is_refused_in_one_sentence_and_in_little_time(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="latin-1")
    began = time.process_time()
    error = load_error(path)
    assert time.process_time() - began < 5
    assert kinds(error) == [("", "yaml")]


@pytest.mark.parametrize("value", ["!!bool yes", "!!int x", "!!float [1]", "!!timestamp soon"])
def test_a_value_that_is_not_of_its_tag_is_named_by_its_line(tmp_path: Path, value: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"min_labels: 50\n\nauto_promote: {value}\n", encoding="utf-8")
    assert "in line 3" in str(load_error(path))


def test_what_was_refused_is_not_quoted(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("events:\n  password: !!timestamp hunter2\n", encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        read_mapping(path)
    assert "hunter2" not in everything_printed(caught.value)


def test_what_is_at_the_limits_is_read_and_aliases_are_allowed(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    deep = "[" * (MAX_DEPTH - 2) + "1" + "]" * (MAX_DEPTH - 2)
    path.write_text(f"a: &a {{x: 1}}\nb: *a\nn: {'9' * MAX_DIGITS}\ndeep: {deep}\nmany: [{'1,' * 9_000}]\n", encoding="utf-8")
    content = read_mapping(path)
    assert (content["b"], content["n"]) == ({"x": 1}, int("9" * MAX_DIGITS))
    assert len(content["many"]) == 9_000  # type: ignore[arg-type]
