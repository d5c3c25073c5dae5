"""The outcome of a run as packed bits: what it saw, and what it classifies correctly."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from beam_pipelines.storage.runs.run_place import RunKey
from estimators.bits import pack_examples


class Accuracies(NamedTuple):
  """Share of correct examples per split, in [0, 1]; None where the split is empty."""

  train: float | None
  removed: float | None
  test: float | None


@dataclasses.dataclass(frozen=True)
class RunOutcome:
  """Everything that the scores need of one run: 8 KB for 60,000 examples.

  Bits are packed along the examples by `estimators.bits.pack_examples`.

  Attributes:
    key: the run's subset ratio and id.
    num_train: training examples.
    num_test: test examples.
    in_subset: ceil(num_train / 8) bytes; bit i: training example i was in the run's subset.
    train_correct: ceil(num_train / 8) bytes; bit i: training example i is classified correctly.
    test_correct: ceil(num_test / 8) bytes; bit j: test example j is classified correctly.
  """

  key: RunKey
  num_train: int
  num_test: int
  in_subset: bytes
  train_correct: bytes
  test_correct: bytes

  @classmethod
  def pack(
    cls, key: RunKey, in_subset: np.ndarray, train_correct: np.ndarray, test_correct: np.ndarray
  ) -> RunOutcome:
    """Packs bool arrays [num_train], [num_train] and [num_test]."""
    return cls(
      key=key,
      num_train=len(in_subset),
      num_test=len(test_correct),
      in_subset=pack_examples(in_subset).tobytes(),
      train_correct=pack_examples(train_correct).tobytes(),
      test_correct=pack_examples(test_correct).tobytes(),
    )

  def unpack(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the three bool arrays that `pack` takes."""
    return (
      _unpack(self.in_subset, self.num_train),
      _unpack(self.train_correct, self.num_train),
      _unpack(self.test_correct, self.num_test),
    )

  @property
  def examples_in(self) -> int:
    """How many training examples the run saw."""
    return _popcount(_bytes(self.in_subset))

  def accuracies(self) -> Accuracies:
    """Returns the run's accuracy on each split."""
    correct = _bytes(self.train_correct)
    correct_in = _popcount(correct & _bytes(self.in_subset))
    correct_out = _popcount(correct) - correct_in
    return Accuracies(
      train=_share(correct_in, self.examples_in),
      removed=_share(correct_out, self.num_train - self.examples_in),
      test=_share(_popcount(_bytes(self.test_correct)), self.num_test),
    )


def _share(correct: int, examples: int) -> float | None:
  return correct / examples if examples else None


def _bytes(packed: bytes) -> np.ndarray:
  return np.frombuffer(packed, np.uint8)


def _popcount(packed: np.ndarray) -> int:
  return int(np.bitwise_count(packed).sum())


def _unpack(packed: bytes, count: int) -> np.ndarray:
  bits = np.unpackbits(_bytes(packed), count=count, bitorder="little")
  return bits.view(bool)
