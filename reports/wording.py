"""What the report says of scores, by the kind of outcome that they are made of."""

import dataclasses
import math

from reports import text


@dataclasses.dataclass(frozen=True)
class Wording:
  """Words for one kind of outcome.

  Attributes:
    title: what stands behind the report's heading; "" for nothing.
    mean: what scores are differences of.
    held_out: the mean that C-scores average.
    unit: of scores, behind a number; "" for none.
    bounded: whether means lie between 0 and 1, so that scores lie between −1 and 1.
    scale: what values of memorization mean.
    carried: what a single training example does for some test examples.
    cscore: how a C-score comes about, behind "its".
    cscore_scale: what values of C-scores mean.
    profile: what the consistency profile shows.
    standard_error: whose, and what of it.
  """

  title: str
  mean: str
  held_out: str
  unit: str
  bounded: bool
  scale: str
  carried: str
  cscore: str
  cscore_scale: str
  profile: str
  standard_error: str

  def raised(self, threshold: float) -> str:
    """Says what having seen a memorized example raises, and by how much."""
    if self is CORRECT:
      points = text.score(100 * threshold, 0)
      return f"the chance of classifying it correctly by {points} percentage points or more"
    unit = self.unit.removesuffix("s") if threshold == 1 else self.unit
    return f"the {self.mean} by {threshold:g}{unit} or more"

  def compared(self, mean_in: float, mean_out: float) -> str:
    """Says what the runs that saw an example, and those that did not, make of it."""
    if self is CORRECT:
      return (
        f"{text.percent(mean_in, 0)} of the runs that saw it classify it correctly, and "
        f"{text.percent(mean_out, 0)} of those that did not"
      )
    return (
      f"the {self.mean} is {text.score(mean_in)}{self.unit} of the runs that saw it, and "
      f"{text.score(mean_out)}{self.unit} of those that did not"
    )

  def amount(self, value: float) -> str:
    """Returns a held-out mean, as a share where it is one."""
    return text.percent(value, 0) if self.bounded else text.score(value) + self.unit


_WELCH = "After ±, Welch's: the root of the sum of both sides' variances, each divided by its runs."
_PATTERN = (
  "Near 1, the example follows the pattern of its class; near 0, it contradicts it. Ambiguous, odd "
  "and mislabelled examples are found at the low end."
)

CORRECT = Wording(
  title="",
  mean="accuracy",
  held_out="held-out accuracy",
  unit="",
  bounded=True,
  scale="Near 0, a network learns the example from all the others; near 1, it is right only if it "
  "has seen this very example.",
  carried="are classified correctly",
  cscore="held-out accuracy: how often runs that did not see it classify it correctly, averaged "
  "over the subset ratios.",
  cscore_scale=_PATTERN,
  profile="The more a network has seen, the more of the harder groups it gets right.",
  standard_error="After ±, and never 0: one correct and one wrong outcome are added to each side "
  "first (Agresti and Caffo).",
)

PROBABILITY = Wording(
  title="of probabilities",
  mean="mean probability of the label",
  held_out="held-out mean probability",
  unit="",
  bounded=True,
  scale="Near 0, a network learns the example from all the others; near 1, it gives the label a "
  "chance only if it has seen this very example.",
  carried="get the probability of their label",
  cscore="held-out mean probability: what runs that did not see it give its label, averaged over "
  "the subset ratios.",
  cscore_scale=_PATTERN,
  profile="The more a network has seen, the surer it is of the harder groups.",
  standard_error=_WELCH,
)

MARGIN = Wording(
  title="of margins",
  mean="mean margin",
  held_out="held-out mean margin",
  unit=" nats",
  bounded=False,
  scale="Margins are the log-odds of the label, in nats: at 1, having seen the example multiplies "
  f"the odds by {math.e:.1f}, whether or not it is classified correctly.",
  carried="get the margin of their label",
  cscore="held-out mean margin: the log-odds that runs that did not see it give its label, "
  "averaged over the subset ratios.",
  cscore_scale="Far above 0, the example follows the pattern of its class; below 0, it contradicts "
  "it. Ambiguous, odd and mislabelled examples are found at the low end.",
  profile="The more a network has seen, the surer it is of the harder groups.",
  standard_error=_WELCH,
)

WORDINGS = {"correct": CORRECT, "probability": PROBABILITY, "margin": MARGIN}
