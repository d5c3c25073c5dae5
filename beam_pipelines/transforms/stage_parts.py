"""Rows of score tables, staged: written part by part where nobody reads yet."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import apache_beam as beam
import pyarrow as pa

from beam_pipelines.storage.scores.manifest import StoredPart
from beam_pipelines.storage.scores.staging import Staging


class Part(NamedTuple):
  """Rows of a score table that go to one Parquet file of a name that follows from its rows."""

  table: str
  name: str
  rows: pa.Table


@dataclasses.dataclass
class StageParts(beam.PTransform):
  """Writes parts where nobody reads yet. Input: `Part`s. Output: `StoredPart`s."""

  staging: Staging

  def expand(self, parts: beam.PCollection[Part]) -> beam.PCollection[StoredPart]:
    """Writes each part by its own."""
    return parts | "Write part" >> beam.Map(lambda part: self.staging.stage(*part))
