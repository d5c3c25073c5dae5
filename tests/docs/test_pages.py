"""Each block of the documentation is run, as a reader does by copying it, or says what it needs."""

import re

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipelines.cli import main
from tests.helpers.pages import FIRST_PAGES, PAGES, blocks, commands, parse
from tests.helpers.reader import follow

NEEDS = {
  "in the clone",  # make, and a package index
  "in the clone, with Go",
  "in the clone, with Java and Maven",
  "in zsh",
  "on a cluster of Flink",
  "on Google Cloud",
  "with a download",
  "with a job server at hand",
  "with ImageNet at hand",
}
"""The titles of blocks that are not run."""


# test_first_pages.py has the others.
@pytest.mark.parametrize("page", [page for page in PAGES if page not in FIRST_PAGES])
def test_what_a_page_shows_works_in_its_order_and_prints_what_it_says(page, tmp_path):
  follow(page, tmp_path)


@pytest.mark.parametrize("page", PAGES)
def test_what_is_not_run_says_what_it_needs(page):
  contents = {"", "text", "toml", "yaml"}  # of files, and of the terminal
  if page == "docs/bigquery.md":
    contents.add("sql")  # run by test_score_bigquery.py
  for block in blocks(page):
    if block.language in ("sh", "python"):
      assert block.title in {"", *NEEDS}, block
    else:
      assert block.language in contents, block
      assert not block.title, block
      assert block.language or not re.search(r"^(\$|heldout|make|python) ", block.code, re.M), block


@pytest.mark.parametrize(
  "text",
  [
    "~~~sh\nheldout\n~~~\n",
    "````sh\nheldout\n````\n",
    "```sh\nheldout\n",
    "```sh linenums\nheldout\n```\n",
    '```sh title=""\nheldout\n```\n',
    "1. One:\n\n   ```sh\n   heldout\n```\n",
    "So:\n\n    heldout\n",
  ],
)
def test_code_that_is_no_such_block_is_noticed(text):
  with pytest.raises(ValueError, match=r"^this is no block as they are written here: "):
    parse(text)


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_have_the_flags_that_it_gives_them(page, capsys):
  for line in commands(page):
    if call := re.match(r"(?:\w+=\S+ )?heldout ([a-z][a-z-]*)(.*)", line):
      given = set(re.findall(r"(?<= )--\w+", call[2]))
      assert given <= flags_of(call[1], capsys) | flags_of_beam(), line


def flags_of(command: str, capsys) -> set[str]:
  with pytest.raises(SystemExit):
    main([command, "--help_all"])
  return set(re.findall(r"--\w+", capsys.readouterr().out))


def flags_of_beam() -> set[str]:
  found: set[str] = set()

  def ask(parser) -> None:
    found.update(re.findall(r"--\w+", parser.format_usage()))

  PipelineOptions([]).get_all_options(add_extra_args_fn=ask)
  return found
