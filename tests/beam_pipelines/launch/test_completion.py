"""What shells suggest: bash is asked as a person asks it, at each tab."""

import os
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from beam_pipelines import cli
from beam_pipelines.launch import completion

BIN = Path(sys.executable).parent
PROMPT = "READY> "


@pytest.fixture(scope="module")
def bash(tmp_path_factory):
  """A shell that completes, in a directory with a few files."""
  directory = tmp_path_factory.mktemp("completion")
  (directory / "runs_of_digits").mkdir()
  (directory / "birds.npz").touch()
  path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
  shell = pexpect.spawn(
    *("bash", ["--norc", "--noprofile"]),
    cwd=directory,
    env={**os.environ, "PATH": path, "PS1": PROMPT, "TERM": "dumb", "INPUTRC": "/dev/null"},
    dimensions=(50, 300),
    encoding="utf-8",
    timeout=60,
  )
  shell.expect_exact(PROMPT)
  for line in (
    "bind 'set page-completions off'; bind 'set bell-style none'",
    "bind 'set show-all-if-ambiguous on'; bind 'set enable-bracketed-paste off'",
    """bind -x '"\\C-x\\C-p": printf "LINE<%s>" "$READLINE_LINE"'""",
    'eval "$(heldout --completion bash)"',
  ):
    shell.sendline(line)
    shell.expect_exact(PROMPT)
  yield shell
  shell.close(force=True)


def after_tab(bash, typed):
  """What is on the line, and what was suggested, when tab was typed after something."""
  bash.send(f"{typed}\t\x18\x10")
  bash.expect(r"LINE<([^>]*)>")
  line, shown = bash.match[1], bash.before
  bash.sendcontrol("u")
  return line, shown.split()


@pytest.mark.parametrize(
  ("typed", "line"),
  [
    ("heldout sco", "heldout score "),
    ("heldout import", "heldout import-outcomes "),
    ("heldout --compl", "heldout --completion "),
    ("heldout score --outc", "heldout score --outcome "),
    ("heldout score --outcome prob", "heldout score --outcome probability "),
    ("heldout score --outcome=prob", "heldout score --outcome=probability "),
    ("heldout train --model=mlp_", "heldout train --model=mlp_small "),
    ("heldout score --experiment=runs", "heldout score --experiment=runs_of_digits/"),
    ("heldout score --experiment runs", "heldout score --experiment runs_of_digits/"),
    ("heldout score --dataset=tfd", "heldout score --dataset=tfds:"),
    ("heldout score --dataset=npz:bi", "heldout score --dataset=npz:birds.npz "),
    ("heldout compare birds", "heldout compare birds.npz "),
    ("heldout verify --runner=Fl", "heldout verify --runner=FlinkRunner "),
  ],
)
def test_bash_completes(bash, typed, line):
  assert after_tab(bash, typed)[0] == line


def test_bash_lists_what_there_is(bash):
  assert set(cli.COMMANDS) <= set(after_tab(bash, "heldout ")[1])
  kinds = {"correct", "probability", "margin"}
  assert kinds <= set(after_tab(bash, "heldout score --outcome=")[1])


def test_no_tab_imports_what_jobs_need(tmp_path):
  line = "heldout train --"
  asked = {
    "_ARGCOMPLETE": "1",
    "_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "suggested"),
    "_ARGCOMPLETE_IFS": "\n",
    "COMP_LINE": line,
    "COMP_POINT": str(len(line)),
  }
  command = [sys.executable, "-X", "importtime", BIN / "heldout"]
  result = subprocess.run(command, env=os.environ | asked, capture_output=True, text=True)
  suggested = (tmp_path / "suggested").read_text()
  assert "--epochs" in suggested.split("\n")
  assert "--dense" not in suggested
  imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
  assert "argcomplete" in imported
  assert not {"apache_beam", "tensorflow", "numpy", "pyarrow"} & imported


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_every_shell_has_its_code(shell, capsys):
  assert cli.main([f"--completion={shell}"]) == 0
  code = capsys.readouterr().out
  assert cli.main(["--completion", shell]) == 0
  assert capsys.readouterr().out == code
  assert "heldout" in code


@pytest.mark.parametrize("arguments", [["--completion"], ["--completion=ksh"]])
def test_other_shells_are_refused(arguments, capsys):
  assert cli.main(arguments) == 2
  assert capsys.readouterr().err == "heldout: error: --completion is of bash, zsh, fish\n"
