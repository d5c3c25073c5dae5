import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reports import findings


def test_three_lines_name_the_extremes(tables, manifest):
  memorization, influence, consistency = findings(tables, manifest)
  examples = tables["examples"].filter(pc.equal(tables["examples"]["subset_ratio"], 0.7))
  scores = examples["memorization"].to_numpy()
  memorized = np.sum(scores >= manifest["options"]["min_memorization"])
  top = examples["example"][int(np.nanargmax(scores))]
  assert memorization.startswith(f"memorization: {memorized:,} training example")
  assert f"most memorized is example {top}, {np.nanmax(scores):.2f} ± " in memorization
  pairs = tables["influence"].filter(pc.equal(tables["influence"]["subset_ratio"], 0.7))
  assert influence.startswith(f"influence: {pairs.num_rows:,} selected pair")
  cscores = tables["cscores"]["cscore"].to_numpy()
  lowest = tables["cscores"]["example"][int(np.nanargmin(cscores))]
  assert consistency == (
    f"C-scores: {np.nanmean(cscores):.2f} on average; "
    f"lowest is example {lowest}, {np.nanmin(cscores):.2f}"
  )


def test_a_score_that_equals_the_threshold_is_memorized(tables, manifest):
  """Of 20 and 20 runs, 7 and 4 are correct: 0.15 exactly, but in floats a little less."""
  counts = {"runs_in": [20] * 3, "runs_out": [20] * 3, "correct_in": [7, 7, 7]}
  counts["correct_out"] = [4, 3, 5]
  examples = pa.table(
    {
      **{name: np.array(values, np.int32) for name, values in counts.items()},
      "subset_ratio": [0.7] * 3,
      "example": range(3),
      "label": [0] * 3,
      "memorization": [7 / 20 - out / 20 for out in counts["correct_out"]],
      "memorization_se": [0.1] * 3,
      "consistency": [out / 20 for out in counts["correct_out"]],
    }
  )
  options = {**manifest["options"], "min_memorization": 0.15}
  line, _, _ = findings({**tables, "examples": examples}, {**manifest, "options": options})
  assert line.startswith("memorization: 2 training examples of 3 at 0.15 or more")


def test_nothing_to_find_is_said(tables, manifest):
  empty = {name: table.slice(0, 0) for name, table in tables.items()}
  memorization, influence, consistency = findings(empty, manifest)
  assert memorization == "memorization: undefined at subset ratio None"
  assert influence == "influence: no pair over the thresholds at subset ratio None"
  assert consistency == "C-scores: undefined, no run held an example out"


def test_says_how_many_pairs_chance_would_select(tables, manifest):
  ratios = [{"subset_ratio": 0.5}, {"subset_ratio": 0.7, "expected_false_pairs": 12.4}]
  _, influence, _ = findings(tables, {**manifest, "ratios": ratios})
  assert "(ratio 0.7, about 12 expected by chance); training example" in influence
