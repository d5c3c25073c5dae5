"""Scores of real outcomes in float64, by boolean masks: what ours must equal."""

import numpy as np


def side_means(member, values):
  """Returns runs_in, runs_out, mean_in, mean_out, sd_in, sd_out of one example, NaN if undefined.

  Args:
    member: bool [runs].
    values: floats [runs].
  """
  sides = [np.asarray(values, np.float64)[mask] for mask in (member, ~member)]
  return (
    *(len(side) for side in sides),
    *(side.mean() if len(side) else np.nan for side in sides),
    *(side.std(ddof=1) if len(side) > 1 else np.nan for side in sides),
  )


def welch(member, values):
  """Returns the difference of the means and its standard error."""
  runs_in, runs_out, mean_in, mean_out, sd_in, sd_out = side_means(member, values)
  return mean_in - mean_out, np.sqrt(sd_in**2 / max(runs_in, 1) + sd_out**2 / max(runs_out, 1))


def dense_influence(member, values):
  """Returns the influence of all pairs by two matrix products, float64 [train, test].

  Args:
    member: bool [train, runs].
    values: floats [test, runs].
  """
  inside, values = member.astype(np.float64), np.asarray(values, np.float64)
  with np.errstate(invalid="ignore"):
    mean_in = inside @ values.T / inside.sum(axis=1, keepdims=True)
    mean_out = (1 - inside) @ values.T / (1 - inside).sum(axis=1, keepdims=True)
  return mean_in - mean_out
