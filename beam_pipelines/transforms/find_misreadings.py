"""Misreadings as a transform: the outcomes of all runs in, warnings out."""

from __future__ import annotations

import dataclasses
from itertools import chain

import apache_beam as beam

from beam_pipelines.storage.runs.misreadings import RunTrace, find_misreadings
from beam_pipelines.storage.runs.outcome import RunOutcome


@dataclasses.dataclass
class FindMisreadings(beam.PTransform):
  """Finds what no single run shows: runs that are copies, and ratios that are not the subsets'.

  Input: lists of `RunOutcome`s, all of an experiment, grouped in any way. Output: warnings, each a
  sentence (`str`) without a full stop; none for an experiment in order. The same runs give the same
  sentences, but a collection has no order: sort them before they are shown. Of each run 40 bytes
  are gathered in one place.
  """

  def expand(self, gathered: beam.PCollection[list[RunOutcome]]) -> beam.PCollection[str]:
    """Traces each group, then gathers."""
    return (
      gathered
      | "Trace runs" >> beam.Map(lambda group: list(map(RunTrace.of, group)))
      | "Gather traces" >> beam.combiners.ToList()
      | "Compare runs" >> beam.FlatMap(lambda groups: find_misreadings(chain.from_iterable(groups)))
    )
