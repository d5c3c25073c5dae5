"""What each section of the report shows; the template puts it into words."""

from typing import Any

import numpy as np

from estimators.thresholds import reaches
from reports.columns import Columns, in_out_statistics, take
from reports.figures import accuracy_figure, consistency_figure, memorization_figure
from reports.pictures import Gallery, Picture
from reports.selection import highest_mean_classes, ordered_per_class, top_carriers
from reports.summaries import accuracy_per_ratio, consistency_profile, score_histogram
from reports.wording import Wording

# What is shown of what there is.
_CLASSES = 12
_MEMORIZED_PER_CLASS = 10
_CONSISTENT_PER_CLASS = 5  # of each end
_CARRIERS = 24
_CARRIED = 6
_SKIPPED = 200


def accuracy(runs: Columns) -> dict[str, Any] | None:
  """Returns accuracy per subset ratio and split, None without runs.

  Args:
    runs: columns of the runs table.
  """
  per_ratio = accuracy_per_ratio(runs)
  if not per_ratio:
    return None
  figure = accuracy_figure(per_ratio) if len(per_ratio) > 1 else None
  return {"per_ratio": per_ratio, "figure": figure}


def memorization(
  examples: Columns,
  threshold: float,
  subset_ratio: float | None,
  gallery: Gallery,
  words: Wording,
) -> dict[str, Any] | None:
  """Returns the memorization at one subset ratio, None if none is defined.

  Args:
    examples: columns of the examples table, rows of `subset_ratio` alone.
    threshold: memorization from which an example counts as memorized.
    subset_ratio: the ratio, None without runs.
    gallery: makes the pictures.
    words: of the kind of outcome that is scored.
  """
  scores, labels = examples["memorization"], examples["label"]
  if subset_ratio is None or np.isnan(scores).all():
    return None
  highest_first = ordered_per_class(-scores, labels, examples["example"])
  top = np.lexsort((examples["example"], -scores))[0]
  statistics = in_out_statistics(examples)
  memorized = reaches(statistics, threshold)
  counts, edges = score_histogram(scores, bounded=words.bounded)
  classes = []
  for label in highest_mean_classes(scores, labels, _CLASSES):
    rows = highest_first[label]
    above_noise = scores[rows] > 2 * examples["memorization_se"][rows]
    shown = rows[above_noise][:_MEMORIZED_PER_CLASS]
    classes.append(
      {
        "name": gallery.class_name(label),
        "examples": len(rows),
        "memorized": int(np.sum(memorized[rows])),
        "pictures": _training_pictures(gallery, examples, shown, "memorization"),
      }
    )
  return {
    "figure": memorization_figure(counts, edges, threshold, subset_ratio, words),
    "examples": int(counts.sum()),
    "memorized": int(np.sum(memorized)),
    "mean": float(np.nanmean(scores)),
    "top": _training_pictures(gallery, examples, [top], "memorization")[0],
    "top_compared": words.compared(statistics.mean_in[top], statistics.mean_out[top]),
    "all_classes": len(highest_first),
    "classes": classes,
  }


def influence(pairs: Columns, subset_ratio: float | None, gallery: Gallery) -> dict[str, Any]:
  """Returns the training examples that carry most at one subset ratio, with what they carry.

  Args:
    pairs: columns of the influence table, all subset ratios.
    subset_ratio: the ratio, None without runs.
    gallery: makes the pictures.
  """
  all_ratios, per_ratio = np.unique(pairs["subset_ratio"], return_counts=True)
  pairs = take(pairs, pairs["subset_ratio"] == subset_ratio)
  train_examples, test_examples = pairs["train_example"], pairs["test_example"]
  carriers = top_carriers(train_examples, test_examples, pairs["influence"], _CARRIERS)
  return {
    "pairs": len(train_examples),
    "train_examples": len(np.unique(train_examples)),
    "test_examples": len(np.unique(test_examples)),
    "per_ratio": list(zip(all_ratios.tolist(), per_ratio.tolist(), strict=True)),
    "carriers": [
      {
        "training": gallery.training(
          carrier.train_example, float(pairs["memorization"][carrier.rows[0]])
        ),
        "total": carrier.total,
        "carried": len(carrier.rows),
        "tests": [
          gallery.test(
            int(test_examples[row]),
            float(pairs["influence"][row]),
            float(pairs["influence_se"][row]),
          )
          for row in carrier.rows[:_CARRIED]
        ],
      }
      for carrier in carriers
    ],
  }


def consistency(
  examples: Columns, cscores: Columns, gallery: Gallery, words: Wording
) -> dict[str, Any] | None:
  """Returns C-scores and the consistency profile, None if no C-score is defined.

  Args:
    examples: columns of the examples table, all subset ratios.
    cscores: columns of the cscores table.
    gallery: makes the pictures.
    words: of the kind of outcome that is scored.
  """
  scores, labels = cscores["cscore"], cscores["label"]
  if np.isnan(scores).all():
    return None
  lowest_first = ordered_per_class(scores, labels, cscores["example"])
  highest_first = ordered_per_class(-scores, labels, cscores["example"])
  classes = []
  for label in highest_mean_classes(-scores, labels, _CLASSES):
    lowest = lowest_first[label][:_CONSISTENT_PER_CLASS]
    # In a class of few examples, none is shown at both ends.
    highest = highest_first[label][~np.isin(highest_first[label], lowest)][:_CONSISTENT_PER_CLASS]
    classes.append(
      {
        "name": gallery.class_name(label),
        "mean": float(scores[lowest_first[label]].mean()),
        "lowest": _training_pictures(gallery, cscores, lowest, "cscore"),
        "highest": _training_pictures(gallery, cscores, highest, "cscore"),
      }
    )
  profile = consistency_profile(examples, cscores)
  return {
    "figure": consistency_figure(profile, words) if len(profile.subset_ratios) > 1 else None,
    "examples": int(np.sum(~np.isnan(scores))),
    "mean": float(np.nanmean(scores)),
    "all_classes": len(lowest_first),
    "classes": classes,
  }


def skipped(inputs: Columns) -> dict[str, Any]:
  """Returns the inputs that were not used, ordered by path.

  Args:
    inputs: columns of the skipped table.
  """
  order = np.argsort(inputs["path"].astype(str), kind="stable")
  shown = take(inputs, order[:_SKIPPED])
  return {
    "inputs": len(order),
    "shown": list(zip(shown["path"].tolist(), shown["reason"].tolist(), strict=True)),
  }


def _training_pictures(
  gallery: Gallery, columns: Columns, rows: np.ndarray | list[np.intp], score: str
) -> list[Picture]:
  return [
    gallery.training(
      int(columns["example"][row]), float(columns[score][row]), float(columns[f"{score}_se"][row])
    )
    for row in rows
  ]
