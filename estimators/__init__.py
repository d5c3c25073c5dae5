"""Scores of memorization, influence and consistency from runs on random subsets of a training set.

Pure arithmetic on NumPy arrays, compiled by Numba where it counts. Outcomes are bits, one per run:

>>> import numpy as np
>>> member = np.array([[1, 1, 0, 0], [0, 1, 1, 0]], bool)   # [train, runs]
>>> correct = np.array([[1, 1, 0, 1], [0, 1, 1, 1]], bool)  # [train, runs]
>>> counts = count_outcomes(pack_runs(member), pack_runs(correct), runs=4)
>>> score(counts)
array([0.5, 0.5])
"""

from estimators.bits import keep_runs, pack_examples, pack_runs, popcount, transpose_runs, words_for
from estimators.counts import InOutCounts, count_outcomes
from estimators.false_pairs import expected_false_pairs, expected_soft_false_pairs
from estimators.influence import influence_block
from estimators.kernels.members import mark_members
from estimators.means import InOutMeans, measure_outcomes
from estimators.outcome_kinds import CORRECT, MARGIN, OUTCOME_KINDS, PROBABILITY, OutcomeKind
from estimators.pairs import (
  InfluencePairs,
  PairSummary,
  keep_top_k,
  merge_pairs,
  summarize_pairs,
)
from estimators.ratios import main_ratio
from estimators.reliability import (
  Moments,
  PairOverlap,
  curve_runs,
  reliability_curve,
  spearman_brown,
  split_half_moments,
  split_halves,
)
from estimators.scores import CScores, accuracy, c_scores, consistency, score, standard_error
from estimators.selection import HalvesPairs, select_in_halves, select_pairs
from estimators.soft_influence import soft_influence_block
from estimators.soft_selection import select_soft_in_halves
from estimators.thresholds import reaches

__all__ = [
  "CORRECT",
  "MARGIN",
  "OUTCOME_KINDS",
  "PROBABILITY",
  "CScores",
  "HalvesPairs",
  "InOutCounts",
  "InOutMeans",
  "InfluencePairs",
  "Moments",
  "OutcomeKind",
  "PairOverlap",
  "PairSummary",
  "accuracy",
  "c_scores",
  "consistency",
  "count_outcomes",
  "curve_runs",
  "expected_false_pairs",
  "expected_soft_false_pairs",
  "influence_block",
  "keep_runs",
  "keep_top_k",
  "main_ratio",
  "mark_members",
  "measure_outcomes",
  "merge_pairs",
  "pack_examples",
  "pack_runs",
  "popcount",
  "reaches",
  "reliability_curve",
  "score",
  "select_in_halves",
  "select_pairs",
  "select_soft_in_halves",
  "soft_influence_block",
  "spearman_brown",
  "split_half_moments",
  "split_halves",
  "standard_error",
  "summarize_pairs",
  "transpose_runs",
  "words_for",
]
