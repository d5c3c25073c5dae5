"""Spilling as a transform, before whatever makes a runner hold a whole collection."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import apache_beam as beam

from files.spill import Spill, Spilled, SpillFile


@dataclasses.dataclass
class SpillValues(beam.PTransform):
  """Puts values on a local disk, because the runner in this process holds all that waits in memory.

  Input: pairs. Output: pairs of the same keys, whose values `load` takes back, one file for each
  bundle. Loading belongs into the very function that needs a value: after a step of its own, a
  runner might hold what was loaded.

  Args:
    spill: where to; None leaves the values as they are, for engines that have disks of their own.
  """

  spill: Spill | None

  def expand(self, pairs: beam.PCollection[tuple[Any, Any]]) -> beam.PCollection[tuple[Any, Any]]:
    """Spills each value, or none."""
    return pairs if self.spill is None else pairs | "Spill" >> beam.ParDo(_SpillValue(self.spill))


class _SpillValue(beam.DoFn):
  def __init__(self, spill: Spill):
    self._spill = spill
    self._file: SpillFile | None = None

  def process(self, pair: tuple[Any, Any]) -> Iterator[tuple[Any, Spilled]]:
    key, value = pair
    if self._file is None:
      self._file = self._spill.open()
    yield key, self._file.put(value)

  def finish_bundle(self) -> None:
    if self._file is not None:
      self._file.close()
      self._file = None
