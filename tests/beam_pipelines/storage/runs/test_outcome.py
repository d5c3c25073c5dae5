import numpy as np

from beam_pipelines.storage.runs.outcome import Accuracies, Margins, RunOutcome
from beam_pipelines.storage.runs.run_place import RunKey

KEY = RunKey(0.7, 3)
BITS = np.array([1, 0, 1], bool), np.array([1, 1, 0], bool), np.array([0, 1], bool)


def test_what_is_packed_is_unpacked():
  outcome = RunOutcome.pack(KEY, *BITS)
  assert [bits.tolist() for bits in outcome.unpack()] == [bits.tolist() for bits in BITS]
  assert outcome.margins is None
  assert outcome.examples_in == 2
  assert outcome.accuracies() == Accuracies(train=0.5, removed=1.0, test=0.5)


def test_margins_are_float32_whatever_they_were():
  margins = Margins(np.array([0.5, 1.5, -2.5]), np.array([0.1, -1e30]))
  outcome = RunOutcome.pack(KEY, *BITS, margins)
  assert outcome.margins.train.dtype == outcome.margins.test.dtype == np.float32
  assert outcome.margins.train.tolist() == [0.5, 1.5, -2.5]
  assert outcome.margins.test.tolist() == [np.float32(0.1), np.float32(-1e30)]
  assert len(outcome.train_margin) == 12
  assert outcome != RunOutcome.pack(KEY, *BITS)


def test_there_may_be_no_test_examples():
  outcome = RunOutcome.pack(KEY, *BITS[:2], BITS[2][:0], Margins(np.zeros(3), np.zeros(0)))
  assert outcome.margins.test.tolist() == []
  assert outcome.accuracies().test is None
