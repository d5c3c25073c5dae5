"""The pipelines: one module each, runnable as `heldout NAME` or `python -m beam_pipelines.NAME`."""

import sys

if sys.argv[:1] == ["-m"]:  # while Python looks for the module of this package that is to run
  from beam_pipelines.launch.process import expect_interrupts

  expect_interrupts()
