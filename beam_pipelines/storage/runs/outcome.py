"""The outcome of a run: what it saw, what it classifies correctly and, if known, by what margin."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from beam_pipelines.storage.runs.run_place import RunKey
from estimators.bits import pack_examples


class Accuracies(NamedTuple):
  """Share of correct examples per split, in [0, 1]; None where it is empty or not recorded."""

  train: float | None
  removed: float | None
  test: float | None


class Margins(NamedTuple):
  """By how much each example is classified correctly, in nats; negative where it is not.

  log p_y − log Σ_{k≠y} p_k, the log-odds of the label: its logistic function is the probability of
  the label.

  Attributes:
    train: float32 [num_train].
    test: float32 [num_test].
  """

  train: np.ndarray
  test: np.ndarray


@dataclasses.dataclass(frozen=True)
class RunOutcome:
  """Everything that the scores need of one run: 8 KB for 60,000 examples, with margins 250 KB.

  Bits are packed along the examples by `estimators.bits.pack_examples`.

  Attributes:
    key: the run's subset ratio and id.
    num_train: training examples.
    num_test: test examples.
    in_subset: ceil(num_train / 8) bytes; bit i: training example i was in the run's subset.
    train_correct: ceil(num_train / 8) bytes; bit i: training example i is classified correctly.
      Empty where that was not recorded.
    test_correct: ceil(num_test / 8) bytes; bit j: test example j is classified correctly.
    train_margin: 4 · num_train bytes, little-endian float32 in the order of the training examples;
      None if the margins are not known, or were not asked for; empty where `train_correct` is.
    test_margin: 4 · num_test bytes, likewise of the test examples; None where `train_margin` is.
  """

  key: RunKey
  num_train: int
  num_test: int
  in_subset: bytes
  train_correct: bytes
  test_correct: bytes
  train_margin: bytes | None = None
  test_margin: bytes | None = None

  @classmethod
  def pack(
    cls,
    key: RunKey,
    in_subset: np.ndarray,
    train_correct: np.ndarray,
    test_correct: np.ndarray,
    margins: Margins | None = None,
  ) -> RunOutcome:
    """Packs bool arrays [num_train], [num_train] and [num_test], and margins of as many.

    Where outcomes on training examples were not recorded, the second is empty, as are margins on
    them.
    """
    return cls(
      key=key,
      num_train=len(in_subset),
      num_test=len(test_correct),
      in_subset=pack_examples(in_subset).tobytes(),
      train_correct=pack_examples(train_correct).tobytes(),
      test_correct=pack_examples(test_correct).tobytes(),
      train_margin=margins and margins.train.astype("<f4").tobytes(),
      test_margin=margins and margins.test.astype("<f4").tobytes(),
    )

  @property
  def margins(self) -> Margins | None:
    """The margins that `pack` takes, or None."""
    if self.train_margin is None or self.test_margin is None:
      return None
    return Margins(np.frombuffer(self.train_margin, "<f4"), np.frombuffer(self.test_margin, "<f4"))

  def unpack(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the three bool arrays that `pack` takes; what was not recorded is empty."""
    return (
      _unpack(self.in_subset, self.num_train),
      _unpack(self.train_correct, self.num_train if self.train_recorded else 0),
      _unpack(self.test_correct, self.num_test),
    )

  @property
  def train_recorded(self) -> bool:
    """Whether it is known which training examples the run classifies correctly."""
    return bool(self.train_correct) or not self.num_train

  @property
  def examples_in(self) -> int:
    """How many training examples the run saw."""
    return _popcount(_bytes(self.in_subset))

  def accuracies(self) -> Accuracies:
    """Returns the run's accuracy on each split."""
    test = _share(_popcount(_bytes(self.test_correct)), self.num_test)
    if not self.train_recorded:
      return Accuracies(train=None, removed=None, test=test)
    correct = _bytes(self.train_correct)
    correct_in = _popcount(correct & _bytes(self.in_subset))
    correct_out = _popcount(correct) - correct_in
    return Accuracies(
      train=_share(correct_in, self.examples_in),
      removed=_share(correct_out, self.num_train - self.examples_in),
      test=test,
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
