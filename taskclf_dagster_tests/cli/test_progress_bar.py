"""Progress on the terminal: one bar on stderr of a terminal, lines elsewhere, nothing with --quiet; results on stdout alone."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from pathlib import Path
from typing import NamedTuple

import pytest

from taskclf_dagster.cli.output import NARROW_SENTENCE, make_table
from taskclf_dagster.cli.progress_bar import BarState, ReportedWork, say_time
from taskclf_dagster.progress import Progress
from taskclf_dagster_tests.scenario import learnable_home

COLOR = re.compile(r"\x1b\[[0-9;]*m")
CONTROL = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]")
BAR = "━"
COLORED = re.compile(r"\x1b\[(3[0-9]|38;|9[0-7])")
FAST = """
min_class_windows: 15
search: off
prove_reproducible: false
calibration_method: off
train_params: {num_boost_round: 5, num_leaves: 4}
"""


class Typed(NamedTuple):
    """What a command printed when its stderr was a terminal."""

    code: int
    stdout: str
    stderr: str


def type_in_a_terminal(*arguments: str, columns: int = 80, ctrl_c_at: str | None = None, **environ: str) -> Typed:
    """Runs a command with a terminal of so many columns as stdin and stderr, and a pipe as stdout.

    Args:
        arguments: of the command.
        columns: width of the terminal.
        ctrl_c_at: Ctrl-C is typed when this text is drawn; None for no Ctrl-C.
        environ: further variables.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("TASKCLF_", "DAGSTER_", "NO_COLOR", "COLUMNS"))}
    environment = {**inherited, "TERM": "xterm-256color", **environ}
    command = [sys.executable, "-m", "taskclf_dagster.cli.main", *arguments]
    drawn: list[bytes] = []
    typed: list[int] = []

    def read() -> None:
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other side was closed
                return
            if not part:
                return
            drawn.append(part)
            if ctrl_c_at is not None and not typed and ctrl_c_at.encode() in b"".join(drawn):
                typed.append(os.write(ours, b"\x03"))

    with subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, env=environment, text=True, preexec_fn=_control_terminal
    ) as process:
        os.close(theirs)
        reader = threading.Thread(target=read)
        reader.start()
        stdout, _ = process.communicate()
        reader.join()
    os.close(ours)
    return Typed(process.returncode, stdout, b"".join(drawn).decode())


def _control_terminal() -> None:
    """Makes the terminal that of a new process, which then gets its Ctrl-C."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_on_a_terminal_a_colored_bar_counts_the_days_of_a_demo_and_the_result_goes_to_stdout(tmp_path: Path) -> None:
    typed = type_in_a_terminal("demo", str(tmp_path / "demo"), "--days", "60", "--users", "3", columns=160)
    assert typed.code == 0, typed
    assert "inventing days" in typed.stderr
    assert BAR in typed.stderr
    assert COLORED.search(typed.stderr)
    assert re.search(r"\d+ of 60 days", COLOR.sub("", typed.stderr))
    assert BAR not in typed.stdout
    assert typed.stdout.splitlines()[0].startswith("DEMO home")
    assert _width(typed) == 160, "as wide as the terminal, though stdout is none"


def test_no_color_is_heeded_and_a_narrow_terminal_has_a_narrow_bar(tmp_path: Path) -> None:
    plain = type_in_a_terminal("demo", str(tmp_path / "demo"), "--days", "60", columns=50, NO_COLOR="1")
    assert BAR in plain.stderr
    assert not COLORED.search(plain.stderr)
    assert _width(plain) == 50


def _width(typed: Typed) -> int:
    return max(map(len, re.split(r"[\r\n]+", CONTROL.sub("", typed.stderr))))


@pytest.mark.parametrize(("options", "environ"), [(["--quiet"], {}), ([], {"TERM": "dumb"})])
def test_with_quiet_or_on_a_terminal_that_cannot_redraw_there_is_no_bar(
    tmp_path: Path, options: list[str], environ: dict[str, str]
) -> None:
    typed = type_in_a_terminal("demo", str(tmp_path / "demo"), "--days", "2", *options, **environ)
    assert (typed.code, typed.stderr) == (0, "")


@pytest.mark.slow
def test_a_retrain_shows_its_steps_and_rounds_in_the_bar_and_its_verdict_on_stdout(tmp_path: Path) -> None:
    home, config = learnable_home(tmp_path / "home", users=1, days=6), tmp_path / "fast.yaml"
    config.write_text(FAST, encoding="utf-8")
    (tmp_path / "instance").mkdir()
    (tmp_path / "instance" / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    command = ["retrain", "--dry-run", "--home", str(home.root), "--config", str(config), "--as-of", "2026-02-04"]
    quiet = type_in_a_terminal(*command, "--quiet", DAGSTER_HOME=str(tmp_path / "instance"))
    assert (quiet.code, quiet.stderr) == (0, "")
    config.write_text(FAST.replace("num_boost_round: 5", "num_boost_round: 400"), encoding="utf-8")
    typed = type_in_a_terminal(*command, DAGSTER_HOME=str(tmp_path / "instance"))
    drawn = COLOR.sub("", typed.stderr)
    assert typed.code == 0, typed
    assert "training the new model" in drawn
    assert re.search(r"step \d+ of \d+, \d+ of 400 rounds", drawn)
    assert re.search(r"\d:\d\d left", drawn), "by the time of the first one"
    assert "challenger_model:" not in typed.stdout
    assert typed.stdout.lstrip().startswith("verdict")


@pytest.mark.slow
def test_after_ctrl_c_a_retrain_says_that_it_was_interrupted_and_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    home = learnable_home(tmp_path / "home", users=1, days=6)
    (tmp_path / "instance").mkdir()
    (tmp_path / "instance" / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    arguments = ["retrain", "--home", str(home.root), "--as-of", "2026-02-04"]
    typed = type_in_a_terminal(*arguments, ctrl_c_at="training the new model", DAGSTER_HOME=str(tmp_path / "instance"))
    assert (typed.code, "it was interrupted" in typed.stdout) == (1, True), typed
    assert "Traceback" not in typed.stderr
    assert typed.stderr.rfind("\x1b[?25h") > typed.stderr.rfind("\x1b[?25l") >= 0, "the cursor is shown again"


def test_the_time_left_of_reported_work_follows_from_its_units_so_far() -> None:
    now = [0.0]
    work = ReportedWork("reading", clock=lambda: now[0])
    assert work.look() == BarState("reading", None)
    work.report(Progress("scoring", 0, 4, "day"))
    now[0] = 6.0
    work.report(Progress("scoring", 1, 4, "day"))
    assert work.look() == BarState("scoring", 0.25, "1 of 4 days", 18.0)
    work.report(Progress("smoothing", 0, 10, "day"))
    now[0] = 8.0
    work.report(Progress("smoothing", 5, 10, "day"))
    assert work.look() == BarState("smoothing", 0.5, "5 of 10 days", 2.0)


def test_times_are_short() -> None:
    assert [say_time(seconds) for seconds in (0.4, 59.6, 750.0, 3723.0)] == ["0:00", "1:00", "12:30", "1:02:03"]


def test_columns_that_can_be_spared_are_left_out_where_the_terminal_is_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [["PASS", "g" * 27, "0.1234", "at least 0.5", "a sentence " * 5]]
    for columns, expected in ((120, True), (80, False)):
        monkeypatch.setenv("COLUMNS", str(columns))
        table = make_table(rows, headers=["verdict", "gate", "observed", "needed", "detail"], wraps=[4], spare=[2, 3])
        assert ("observed" in table) is expected
        assert max(map(len, table.splitlines())) <= columns
    assert 80 - len("verdict") - 27 - 4 >= NARROW_SENTENCE
