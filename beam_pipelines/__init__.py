"""The pipelines: one module each, runnable as `heldout NAME` or `python -m beam_pipelines.NAME`."""

import sys

# Python looks for the module of this package that is to run, or for where `heldout` begins.
if sys.argv and sys.argv[0].rpartition("/")[2] in ("-m", "heldout"):
  from beam_pipelines.launch.process import expect_interrupts

  expect_interrupts()
