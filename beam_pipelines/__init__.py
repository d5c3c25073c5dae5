"""The pipelines: one module each, runnable as `heldout NAME` or `python -m beam_pipelines.NAME`."""

import sys

from beam_pipelines.launch.house import refuse_intruders

# Python looks for the module of this package that is to run, or for where `heldout` begins.
_is_program = bool(sys.argv) and sys.argv[0].rpartition("/")[2] in ("-m", "heldout")

refuse_intruders(ends_process=_is_program)

if _is_program:
  from beam_pipelines.launch.process import expect_interrupts

  expect_interrupts()
