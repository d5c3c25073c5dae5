"""The flags of commands: what is refused, and what help shows."""

import importlib
import re

import pytest
from apache_beam.options.pipeline_options import DirectOptions

from beam_pipelines import cli
from beam_pipelines.launch.groups import COMPUTES, READS, WORKERS
from beam_pipelines.launch.parser import Parser
from files.errors import UsageError

# A screen and a half of a terminal of 24 lines.
_COLUMNS, _LINES = 80, 36


@pytest.fixture
def parser():
  parser = Parser("do", "Does it.")
  parser.add(READS, "--experiment", metavar="DIR", help="of runs")
  return parser


def test_flags_are_ours_or_beams(parser):
  args, options = parser.parse(["--experiment=e", "--direct_num_workers=3"])
  assert args.experiment == "e"
  assert options.view_as(DirectOptions).direct_num_workers == 3


def test_a_misspelt_flag_is_an_error_with_a_guess(parser):
  with pytest.raises(UsageError, match="unknown argument --experimnt: did you mean --experiment"):
    parser.parse(["--experimnt=e"])
  with pytest.raises(UsageError, match=r"unknown argument stray; see `heldout do --help`"):
    parser.parse(["stray"])


def test_other_runners_may_have_flags_of_their_own(parser):
  _, options = parser.parse(["--runner=PortableRunner", "--its_own=1"])
  assert options.get_all_options(retain_unknown_options=True)["its_own"] == "1"


@pytest.mark.parametrize(
  "flag",
  ["--experimnt", "-experiment", "--Experiment", "--EXPERIMENT", "--exper_iment", "--exp", "exper"],
)
@pytest.mark.parametrize("runner", ["FnApiRunner", "PortableRunner"])
def test_no_runner_is_given_what_is_meant_for_us(parser, flag, runner):
  with pytest.raises(UsageError, match=f"unknown argument {flag}: did you mean --experiment"):
    parser.parse([f"--runner={runner}", f"{flag}=e"])


@pytest.mark.parametrize(
  ("flag", "message"),
  [
    ("--direct_num_workers=x", "argument --direct_num_workers: invalid int value: 'x'"),
    ("--direct_running_mode=x", "argument --direct_running_mode: invalid choice: 'x'"),
    ("--runner", "argument --runner: expected one argument"),
  ],
)
def test_a_value_that_beam_refuses_is_one_line(parser, flag, message, capsys):
  with pytest.raises(UsageError) as caught:
    parser.parse([flag])
  assert str(caught.value).startswith(message)
  assert str(caught.value).endswith("; see `heldout do --help`")
  assert "\n" not in str(caught.value)
  assert capsys.readouterr().err == ""


def test_flags_are_not_abbreviated(parser):
  with pytest.raises(UsageError, match="unknown argument --exp"):
    parser.parse(["--exp=e"])


def help_of(command, flag, capsys, monkeypatch):
  monkeypatch.setenv("COLUMNS", str(_COLUMNS))
  with pytest.raises(SystemExit) as exit_status:
    cli.main([command, flag])
  assert exit_status.value.code == 0
  return capsys.readouterr().out


def parser_of(command):
  return importlib.import_module(f"beam_pipelines.{command.replace('-', '_')}").make_parser()


def flags_in(help):
  """The flags that help has a line for, in their order."""
  return re.findall(r"^  (?:-h, )?(--\w+)", help, re.MULTILINE)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_fits_on_a_screen_and_a_half_and_teaches(command, capsys, monkeypatch):
  help = help_of(command, "--help", capsys, monkeypatch)
  lines = help.splitlines()
  assert len(lines) <= _LINES
  assert max(map(len, lines)) <= _COLUMNS
  assert lines[0].startswith(f"usage: heldout {command}")
  assert "Example" in help
  assert "None" not in help
  assert f"\n  heldout {command} " in help


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_flag_is_in_one_group_and_help_all_shows_it(command, capsys, monkeypatch):
  parser = parser_of(command)
  shown = [
    action.option_strings[-1]
    for actions in parser.flags.values()
    for action in actions
    if action.option_strings
  ]
  assert len(set(shown)) == len(shown)
  everything = help_of(command, "--help_all", capsys, monkeypatch)
  assert sorted(flags_in(everything)) == sorted(shown)
  assert max(map(len, everything.splitlines())) <= _COLUMNS
  assert "None" not in everything
  headings = re.findall(r"^(\w.*):$", everything, re.MULTILINE)
  assert "options" not in headings  # where argparse puts flags of no group
  assert [group.title for group, actions in parser.flags.items() if actions] == [
    heading for heading in headings if heading in {group.title for group in parser.flags}
  ]


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_says_last_that_there_is_more(command, capsys, monkeypatch):
  parser = parser_of(command)
  help = help_of(command, "--help", capsys, monkeypatch)
  rare = [action for group, actions in parser.flags.items() if group.is_rare for action in actions]
  assert not {action.option_strings[-1] for action in rare} & set(flags_in(help))
  last = f"`heldout {command} --help_all` shows {len(rare)} more flags"
  assert (help.splitlines()[-1] == last) == bool(rare)


def test_defaults_are_said_where_there_are_any(parser):
  parser.add(COMPUTES, "--count", type=int, default=3, metavar="N", help="of all 100%% of them")
  parser.add(COMPUTES, "--fast", action="store_true", default=False, help="in no time")
  parser.add(WORKERS, "--share", default="0.1%", metavar="X", help="of each")
  parser.show_all()
  help = parser.format_help()
  assert re.search(r"--experiment DIR +of runs\n", help)
  assert re.search(r"--count N +of all 100% of them \(default: 3\)\n", help)
  assert re.search(r"--fast +in no time\n", help)
  assert re.search(r"--share X +of each \(default: 0.1%\)\n", help)


def test_brackets_in_help_are_brackets(parser):
  parser.add(READS, "--masks", metavar="FILE", help="[runs, training examples], of [bold]bits")
  assert "[runs, training examples], of [bold]bits\n" in parser.format_help()


def test_usage_has_what_must_be_given(parser, monkeypatch):
  monkeypatch.setenv("COLUMNS", "200")
  parser.add(READS, "a", metavar="A", help="one")
  parser.add(READS, "--scores", metavar="DIR", required=True, help="to read")
  parser.add_one_of(READS, {"--this": "this", "--that": "that"}, metavar="N")
  usage = "usage: heldout do A --scores=DIR (--this=N | --that=N) [flags]\n"
  assert parser.format_help().startswith(usage)
  with pytest.raises(UsageError, match="one of the arguments --this --that is required"):
    parser.parse(["a", "--scores=s"])
