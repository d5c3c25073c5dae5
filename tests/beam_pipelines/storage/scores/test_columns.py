import numpy as np
import pytest

from beam_pipelines.storage.scores.columns import choose_ratio, read_cscores, read_influence
from beam_pipelines.storage.scores.tables import make_table
from files.errors import UsageError
from tests.helpers.scores import make_ratio, publish_tables


def _publish(path, runs=None, sizes=(4, 3), **tables):
  ratios = [make_ratio(ratio, count) for ratio, count in (runs or {}).items()]
  return publish_tables(path, ratios=ratios, examples=sizes, **tables)


@pytest.mark.parametrize(
  ("runs", "chosen"),
  [
    ({0.3: 20, 0.7: 10}, 0.3),
    ({0.3: 20, 0.6: 20, 0.9: 20}, 0.6),
    ({0.6: 20, 0.8: 20}, 0.6),
    ({0.9: 1}, 0.9),
  ],
)
def test_the_usual_ratio_has_the_most_runs_and_is_near_0_7(tmp_path, runs, chosen):
  scores = _publish(tmp_path, runs)
  assert choose_ratio(scores, None) == chosen
  assert [choose_ratio(scores, ratio) for ratio in runs] == list(runs)


def test_a_ratio_that_was_not_scored_is_an_error(tmp_path):
  scores = _publish(tmp_path, {0.3: 20, 0.7: 10})
  with pytest.raises(UsageError, match=r"^--ratio=0\.5: .* holds scores at 0\.3, 0\.7; choose"):
    choose_ratio(scores, 0.5)


def _cscores(examples, label):
  return make_table(
    "cscores", example=examples, label=label, ratios=1, cscore=[0.5, np.nan], cscore_se=None
  )


def test_rows_come_by_example_and_null_scores_as_nan(tmp_path):
  cscores = read_cscores(
    _publish(tmp_path, cscores=[_cscores([3, 2], [7, 8]), _cscores([0, 1], [5, 6])])
  )
  assert cscores.index.tolist() == [[0], [1], [2], [3]]
  assert cscores.labels.tolist() == [[5], [6], [8], [7]]
  assert np.array_equal(cscores.scores, [0.5, np.nan, np.nan, 0.5], equal_nan=True)


def test_null_labels_are_unknown(tmp_path):
  scores = _publish(tmp_path, sizes=(2, 3), cscores=[_cscores([0, 1], None)])
  assert read_cscores(scores).labels is None


def test_no_pairs_are_an_empty_selection(tmp_path):
  pairs = read_influence(_publish(tmp_path), 0.7)
  assert (pairs.index.shape, pairs.scores.dtype, len(pairs)) == ((0, 2), float, 0)
