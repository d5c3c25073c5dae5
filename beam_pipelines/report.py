"""`heldout report`: shows score tables as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Sequence

from beam_pipelines.launch import arguments, command, datasets
from beam_pipelines.launch.groups import READS
from beam_pipelines.launch.output import add_flag, open_output
from beam_pipelines.launch.parser import Parser
from beam_pipelines.launch.terminal import warning
from beam_pipelines.storage.scores.directory import open_scores
from beam_pipelines.storage.scores.pairing import check_dataset
from files.errors import UsageError
from image_datasets import load_dataset
from reports import REPORT_TABLES, ReportError, findings, render_report


def run(argv: Sequence[str]) -> int:
  """Writes the report, prints where it is and what it found; returns the exit status."""
  args, _ = make_parser().parse(argv)
  output = open_output(args.output)
  with open_scores(args.scores) as scores:
    tables = {name: scores.table(name) for name in (*REPORT_TABLES, "index")}
  dataset = load_dataset(args.dataset, args.data_dir)
  check_dataset(args.scores, scores.manifest, tables, dataset)
  manifest = scores.manifest.as_json()
  # Scores made without labels know nothing of what is wrong with the data set.
  manifest["warnings"] = list(dict.fromkeys([*manifest["warnings"], *dataset.warnings]))
  try:
    document = render_report(tables, manifest, dataset)
  except ReportError as error:
    raise UsageError(f"--scores={args.scores} with --dataset={args.dataset}: {error}") from error
  output.write(document.encode())
  warnings = [warning(text, output.messages) for text in manifest["warnings"]]
  output.say("\n".join([f"report: {output}", *warnings, *findings(tables, manifest)]))
  return 0


def make_parser() -> Parser:
  """Returns the parser of the command's flags."""
  parser = Parser(
    "report",
    "Shows score tables as one HTML file: accuracies, memorized examples, influence pairs,\n"
    "C-scores, reliability, each with pictures. It needs nothing but a browser.",
    "Example:\n  heldout report --scores=scores --dataset=digits --output=report.html",
  )
  parser.add(
    READS,
    "--scores",
    type=arguments.path,
    required=True,
    metavar="DIR",
    help="directory of score tables",
  )
  datasets.add_flags(parser, "data set that the pictures come from", required=True, check=False)
  add_flag(parser, default="report.html")
  return parser


if __name__ == "__main__":
  command.execute_module("report", run)
