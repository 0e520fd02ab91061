"""No file and no person sends a command to a terminal, or writes a line that looks like ours, through what we show."""

import ast
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from taskclf_dagster.cli.main import main
from taskclf_dagster.defs.display.metadata import make_result_showable, make_showable, table
from taskclf_dagster.shown_text import counted, reason_of, rounded, rounded_pair, shorten_names, show_block, show_line, show_relation
from taskclf_dagster_tests.models import AT, MID, NEW, edit_json
from taskclf_dagster_tests.registry_scenario import promoted, set_active
from taskclf_dagster_tests.scenario import DAY, make_home

CONTROLS = [chr(code) for code in (0x00, 0x07, 0x08, 0x0D, 0x1B, 0x7F, 0x85, 0x9B, 0x200F, 0x2028, 0x202A, 0x202E, 0x2066, 0x2069)]
EVIL = "\x1b[2J\x9b31m\u202egnp\u2066\nevery promise holds"


def test_every_control_character_is_escaped_and_letters_stay() -> None:
    for character in CONTROLS:
        assert show_line(f"a{character}b") == show_block(f"a{character}b") == f"a\\u{ord(character):04x}b"
    assert show_line("Zürich 東京 é → 👩‍💻") == "Zürich 東京 é → 👩‍💻"
    assert show_line("a\nb\tc") == "a\\u000ab\\u0009c"
    assert show_block("a\nb\tc") == "a\nb\tc"


def test_the_reason_of_an_error_has_neither_its_number_nor_its_path(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(OSError, match="circle") as caught:
        (tmp_path / "circle").read_bytes()
    assert reason_of(caught.value) == os.strerror(errno.ELOOP)
    assert reason_of(ValueError("one\ntwo")) == "one"
    assert reason_of(MemoryError()) == "MemoryError"


def test_escaped_json_is_the_same_json() -> None:
    value = {"reason": EVIL, "other": "\ud800"}
    assert json.loads(show_block(json.dumps(value, ensure_ascii=False))) == value


def test_tables_metadata_and_check_results_hold_no_control_characters() -> None:
    shown = table([{"user": EVIL, "windows": 3}])
    assert isinstance(shown, dg.TableMetadataValue)
    assert shown.records[0].data == {"user": show_line(EVIL), "windows": 3}
    values = {
        "text": EVIL,
        "t": dg.MetadataValue.text(EVIL),
        "md": dg.MetadataValue.md(EVIL),
        "path": dg.MetadataValue.path(EVIL),
        "n": 1.5,
    }
    assert not any("\x1b" in str(value) or "\u202e" in str(value) for value in make_showable(values).values())
    assert make_showable(values)["n"] == 1.5
    result = make_result_showable(dg.AssetCheckResult(passed=False, check_name="c", description=EVIL, severity=dg.AssetCheckSeverity.WARN))
    assert (result.description, result.passed, result.severity) == (show_block(EVIL), False, dg.AssetCheckSeverity.WARN)


@pytest.mark.parametrize(
    "command", [["registry", "fsck"], ["list"], ["registry", "repair"], ["registry", "fsck", "--json"], ["prune", "--dry-run"]]
)
def test_commands_show_what_a_file_says_without_obeying_it(tmp_path: Path, command: list[str]) -> None:
    home = promoted(make_home(tmp_path), MID, NEW)
    set_active(home, MID, at=AT + DAY, reason={"note": EVIL, EVIL: 1})
    edit_json(home.inference_policy, {"model_dir": f"models/{EVIL}"})
    edit_json(home.models / NEW / "MANIFEST.json", {"model_id": EVIL})
    (home.outbox / "e.json").write_text(json.dumps({EVIL: 1}), encoding="utf-8")
    result = CliRunner().invoke(main, [*command, "--home", str(home.root)])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert not set(result.output) & set(CONTROLS)
    assert "every promise holds" not in result.output.splitlines()


@pytest.mark.parametrize("reason", ["", "   ", "\t\n"])
@pytest.mark.parametrize("command", [["rollback"], ["unblock", MID]])
def test_an_empty_reason_is_a_usage_error(tmp_path: Path, command: list[str], reason: str) -> None:
    result = CliRunner().invoke(main, [*command, "--home", str(make_home(tmp_path).root), "--reason", reason])
    assert (result.exit_code, type(result.exception)) == (2, SystemExit)


@pytest.mark.parametrize(
    "arguments",
    [[b"list", b"--home", b"/nowhere/\xff"], [b"unblock", b"\xe9t\xe9", b"--reason", b"r"], [b"\xf0\x28"], [b"rollback", b"--reason=\xc3"]],
    ids=["a path", "an id", "a command", "a reason"],
)
def test_an_argument_that_is_not_utf_8_is_a_usage_error_in_a_sentence(arguments: list[bytes]) -> None:
    result = CliRunner().invoke(main, [os.fsdecode(argument) for argument in arguments])
    assert (result.exit_code, type(result.exception)) == (2, SystemExit)
    assert "is not UTF-8" in result.stderr


def test_a_process_with_an_argument_that_is_not_utf_8_ends_with_a_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "taskclf_dagster.cli.main", b"list", b"--home", b"/\xff"], capture_output=True, check=False
    )
    assert done.returncode == 2
    assert b"is not UTF-8" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_usage_error_shows_what_was_typed_without_obeying_it() -> None:
    result = CliRunner().invoke(main, ["\x1b[31mlist"])
    assert result.exit_code == 2
    assert "\x1b" not in result.output


def test_a_number_has_its_noun_and_four_digits_unless_two_values_would_look_the_same() -> None:
    assert [counted(number, "minute") for number in (0, 1, 1.0, 1.5)] == ["0 minutes", "1 minute", "1 minute", "1.5 minutes"]
    assert (rounded(0.27606143212345), rounded("v1")) == ("0.2761", "'v1'")
    assert rounded_pair(0.27606143212345, 0.6) == ("0.2761", "0.6")
    assert rounded_pair(0.27606143212345, 0.2760614) == ("0.27606143212345", "0.2760614")


@pytest.mark.parametrize(
    ("one", "sign", "other", "shown"),
    [
        (0.64, "<", 0.65, "0.6400 < 0.65"),
        (0.649999, "<", 0.65, "0.649999 < 0.65"),
        (0.46512, ">", 0.46511, "0.46512 > 0.46511"),
        (0.4651, "<=", 0.4651, "0.4651 <= 0.4651"),
        (-0.0200001, "<", -0.02, "-0.0200001 < -0.02"),
        (0.72 - 0.70, ">=", 0.02, "0.0200 >= 0.02"),
    ],
)
def test_two_numbers_never_contradict_the_sign_between_them(one: float, sign: str, other: float, shown: str) -> None:
    assert show_relation(one, sign, other) == shown


def test_long_names_are_shortened_to_what_distinguishes_them() -> None:
    alike = ["af896801-2b6f-4d7e", "af896801-9c55-4d7e", "0123456789"]
    assert shorten_names([*alike, "bob", "carol-ann"]) == {
        "af896801-2b6f-4d7e": "af896801-2…",
        "af896801-9c55-4d7e": "af896801-9…",
        "0123456789": "01234567…",
        "bob": "bob",
        "carol-ann": "carol-ann",
    }


def test_commands_print_through_one_module() -> None:
    folder = Path(__file__).parents[1] / "taskclf_dagster" / "cli"
    printing = {
        (path.name, node.func.attr)
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("echo", "secho", "tabulate")
    }
    assert printing == {("output.py", "echo"), ("output.py", "secho")}
