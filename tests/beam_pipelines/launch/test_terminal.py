"""Colors: on a terminal that shows them, if they are wanted, and nowhere else."""

import subprocess
import sys

import pytest

from beam_pipelines import cli
from tests.helpers import terminals

HELDOUT = [sys.executable, "-m", "beam_pipelines.cli"]
HELP = [*HELDOUT, "doctor", "--help"]
MISTAKE = [*HELDOUT, "doctor", "--outptu=x"]
LINE = (
  "heldout doctor: error: unknown argument --outptu: did you mean --output?; see `heldout doctor "
  "--help`"
)


@pytest.mark.parametrize(("command", "status"), [(HELP, 0), (MISTAKE, 2)])
def test_a_terminal_is_in_color(command, status):
  session = terminals.run(command)
  assert session.status == status
  assert session.is_colored


@pytest.mark.parametrize("setting", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
@pytest.mark.parametrize("command", [HELP, MISTAKE])
def test_who_wants_no_colors_sees_none(command, setting):
  session = terminals.run(command, **setting)
  assert "\x1b" not in session.written
  assert "heldout doctor" in session.written


@pytest.mark.parametrize("command", [HELP, MISTAKE])
@pytest.mark.parametrize("setting", ["TERM", "FORCE_COLOR"])
def test_pipes_are_plain(command, setting, monkeypatch):
  monkeypatch.setenv(setting, "xterm-256color")
  result = subprocess.run(command, capture_output=True, text=True)
  assert "\x1b" not in result.stdout + result.stderr


def test_an_error_stands_out_and_is_the_same_line():
  session = terminals.run(MISTAKE)
  assert "\x1b[31merror:\x1b[0m" in session.written
  assert session.lines == [LINE, ""]


def test_help_is_the_same_in_color(monkeypatch):
  monkeypatch.setenv("COLUMNS", "90")
  plain = subprocess.run(HELP, capture_output=True, text=True).stdout
  session = terminals.run(HELP, COLUMNS="90")
  assert session.lines == [*plain.splitlines(), ""]


# What doctor, verify and warnings say of a state is a word in its color.
PAINT = """
import sys
from beam_pipelines.launch.command import show_warnings
from beam_pipelines.launch.terminal import BAD, GOOD, paint
show_warnings(["odd \\x1b[31m[bold]"])
print(paint("FAILED", BAD, sys.stdout), paint("ok", GOOD, sys.stdout))
"""


def test_words_are_in_their_colors_and_what_they_say_is_literal():
  session = terminals.run([sys.executable, "-c", PAINT])
  assert session.written.replace("\r\n", "\n") == (
    "\x1b[33mwarning:\x1b[0m odd \\x1b[31m[bold]\n\x1b[31mFAILED\x1b[0m \x1b[32mok\x1b[0m\n"
  )


def test_what_doctor_finds_is_in_its_color():
  session = terminals.run([*HELDOUT, "doctor"])
  states = {line.split()[0] for line in session.lines if line}
  assert states <= {"ok", "-"}
  assert session.written.count("\x1b[32mok\x1b[0m") == sum(
    line.startswith("ok  ") for line in session.lines
  )


def test_the_verdict_of_verify_is_in_its_color(tmp_path):
  flags = [f"--experiment={tmp_path}", "--dataset=digits", "--model=mlp_small"]
  assert cli.main(["train", *flags, "--runs=0:2", "--epochs=1"]) == 0
  session = terminals.run([*HELDOUT, "verify", *flags])
  assert session.status == 0
  assert "\x1b[32mverified\x1b[0m 2 runs: " in session.written
  (tmp_path / "0.7" / "0" / "aux_arrays.npz").replace(tmp_path / "0.7" / "1" / "aux_arrays.npz")
  (tmp_path / "0.7" / "1").replace(tmp_path / "0.7" / "2")  # whose outcomes are of another run now
  session = terminals.run([*HELDOUT, "verify", *flags])
  assert session.status == 1
  assert "\x1b[31mverified\x1b[0m 1 runs: " in session.written
