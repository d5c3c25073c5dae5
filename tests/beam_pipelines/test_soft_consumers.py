"""What is done with scores of probabilities and margins: report, export, compare."""

import html
import json
import re

import numpy as np
import pytest

import heldout
from beam_pipelines import cli
from tests.helpers.outcomes import add_margins, make_outcomes, write_experiment, write_few_digits


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
  """The scores of each outcome by its name, and the data set."""
  directory = tmp_path_factory.mktemp("scored")
  dataset = write_few_digits(directory / "few-digits.npz")
  write_experiment(
    directory / "runs", add_margins(make_outcomes(0.3, range(20)) + make_outcomes(0.7, range(40)))
  )
  for outcome in ("correct", "probability", "margin"):
    flags = {"dataset": dataset, "min_influence": 0.05, "min_memorization": -1}
    heldout.score(directory / "runs", directory / outcome, outcome=outcome, **flags)
  return directory, dataset


def _text(path):
  """The words of a report, without pictures, figures and style."""
  shown = re.sub(r"<style.*?</style>", "", path.read_text(), flags=re.S)
  return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", shown)))


@pytest.mark.parametrize(
  ("outcome", "title", "mean", "held_out"),
  [
    ("correct", "", "accuracy", "held-out accuracy"),
    (
      "probability",
      " of probabilities",
      "mean probability of the label",
      "held-out mean probability",
    ),
    ("margin", " of margins", "mean margin", "held-out mean margin"),
  ],
)
def test_the_report_says_what_was_scored(scored, tmp_path, capsys, outcome, title, mean, held_out):
  directory, dataset = scored
  output = tmp_path / "report.html"
  flags = (f"--dataset={dataset}", f"--output={output}")
  assert cli.main(["report", f"--scores={directory / outcome}", *flags]) == 0
  assert "memorization: " in capsys.readouterr().out
  document, words = output.read_text(), _text(output)
  assert f"Memorization, influence and consistency{title} " in words.replace("\xa0", " ")
  unit = " (nats)" if outcome == "margin" else ""
  for label in (
    f"memorization{title} at subset ratio 0.7{unit}",
    f"{held_out}{unit}",
  ):
    assert f">{label}<" in document
  assert f"Its influence on a test example is the {mean} there" in words
  assert ("Agresti" in words) == (outcome == "correct")
  assert ("Welch" in words) == (outcome != "correct")
  assert ("percentage points" in words) == (outcome == "correct")
  assert ("classify it correctly" in words) == (outcome == "correct")


@pytest.mark.parametrize("outcome", ["probability", "margin"])
def test_published_formats_are_of_bits(scored, tmp_path, capsys, outcome):
  directory, dataset = scored
  for format_name in ("cscores", "high_influence_pairs", "influence_matrix", "infl_mem"):
    output = tmp_path / "published.npz"
    flags = (f"--format={format_name}", f"--output={output}", f"--dataset={dataset}")
    assert cli.main(["export", f"--scores={directory / outcome}", *flags]) == 2
    assert capsys.readouterr().err == (
      f"heldout export: error: --scores={directory / outcome} holds scores of --outcome={outcome}: "
      "the published formats hold accuracies and their differences; score with --outcome=correct\n"
    )
    assert not output.exists()


def test_plain_files_hold_any_scores(scored, tmp_path):
  directory, _ = scored
  output = tmp_path / "memorization.npy"
  flags = ("--format=memorization_npy", f"--output={output}", "--ratio=0.7")
  assert cli.main(["export", f"--scores={directory / 'margin'}", *flags]) == 0
  scores = heldout.read_scores(directory / "margin").columns("examples", 0.7)["memorization"]
  assert np.array_equal(np.load(output), scores, equal_nan=True)


def test_comparing_other_outcomes_says_so(scored, capsys):
  directory, _ = scored
  assert cli.main(["compare", str(directory / "margin"), str(directory / "correct")]) == 0
  out = capsys.readouterr().out
  assert f"A  {directory / 'margin'} at ratio 0.7 of --outcome=margin: C-score of 37" in out
  assert f"B  {directory / 'correct'} at ratio 0.7: C-score of 37" in out
  assert (
    "A holds scores of --outcome=margin, B of --outcome=correct: ranks can be compared, "
    "differences cannot\n"
  ) in out
  assert cli.main(["compare", str(directory / "margin"), str(directory / "margin")]) == 0
  assert "differences cannot" not in capsys.readouterr().out


def test_tables_are_read_as_python(scored):
  directory, _ = scored
  columns = heldout.read_scores(directory / "margin").columns("examples", 0.7)
  assert set(columns) >= {"mean_in", "mean_out", "sd_in", "sd_out", "memorization_se"}


def test_a_manifest_of_before_is_one_of_bits(scored, capsys):
  directory, _ = scored
  path = directory / "correct" / "manifest.json"
  written = path.read_text()
  manifest = json.loads(written)
  del manifest["options"]["outcome"]
  path.write_text(json.dumps(manifest))
  assert heldout.read_scores(directory / "correct").table("examples").num_rows == 74
  command = ["score", f"--experiment={directory / 'runs'}", f"--scores={directory / 'correct'}"]
  assert cli.main([*command, "--append", "--outcome=margin", f"--dataset={scored[1]}"]) == 2
  assert "were made with --outcome=correct, not --outcome=margin" in capsys.readouterr().err
  path.write_text(written)
