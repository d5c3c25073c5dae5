"""What goes in comes out: the counts that must agree before scores are published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from beam_pipelines.storage.scores.directory import DENSE
from beam_pipelines.storage.scores.manifest import Manifest


class PublicationError(RuntimeError):
  """A job does not publish what it has staged; the message says why."""


def check_conservation(manifest: Manifest) -> None:
  """Makes sure that nothing was lost on the way, or counted twice.

  Inputs are used or skipped, and every example, run and pair has its row. That is no matter of
  course: an engine may lose elements and say that all went well.

  Raises:
    PublicationError: some counts do not agree.
  """
  names = Counter(part.path for part in manifest.parts)
  twice = [name for name, times in names.items() if times > 1]
  if twice:
    raise PublicationError(
      f"{min(twice)} was staged twice with other content: nothing is published"
    )
  for what, found, expected in _counts(manifest):
    if found != expected:
      raise PublicationError(
        f"the job lost or repeated some of its work: {found:,} {what}, not {expected:,}: nothing "
        "is published; run it again, or on another runner"
      )


def _counts(manifest: Manifest) -> Iterator[tuple[str, int, int]]:
  """Yields what was counted, how much was found, and how much there must be."""
  rows, ratios = manifest.rows, len(manifest.ratios)
  train, test = manifest.examples.train, manifest.examples.test
  scored = train if manifest.examples.train_recorded else 0
  used = manifest.runs_used
  yield "inputs used or skipped", used + manifest.runs_skipped, manifest.runs_listed
  yield "runs in the subset ratios", sum(ratio.runs for ratio in manifest.ratios), used
  yield "rows of outcomes", rows.get("outcomes", 0), used
  yield "rows of examples", rows.get("examples", 0), ratios * scored
  yield "rows of cscores", rows.get("cscores", 0), scored if used else 0
  yield "rows of train_influence", rows.get("train_influence", 0), ratios * train
  yield "rows of test_influence", rows.get("test_influence", 0), ratios * test
  if used:  # else there are no sizes, and nothing is published anyway
    yield "rows of index", rows.get("index", 0), train + test if manifest.dataset else 0
  if manifest.options.correctness:
    yield "rows of correctness", rows.get("correctness", 0), used * (scored + test)
  if manifest.options.dense:
    yield "rows of the dense matrix", rows.get(DENSE, 0), ratios * train if test else 0
    described = [part for part in manifest.parts_of(DENSE) if not part.rows]
    yield "descriptions of the dense matrix", len(described), ratios + 1 if ratios else 0
  blocks = len(manifest.parts_of("examples"))
  pairs = ratios if manifest.options.top_k is not None else blocks
  yield "parts of influence", len(manifest.parts_of("influence")), pairs
