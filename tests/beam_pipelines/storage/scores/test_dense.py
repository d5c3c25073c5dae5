import numpy as np
import pytest
import zarr

from beam_pipelines.storage.scores.dense import read_dense, row_blocks
from files.errors import UsageError


@pytest.fixture
def influence(tmp_path):
  """A matrix of 5 training and 3 test examples, whose last chunk was never written."""
  group = zarr.open_group(tmp_path / "influence.zarr", mode="w")
  matrix = group.create_array(
    "ratio-0.7", shape=(5, 3), chunks=(2, 3), dtype="float32", fill_value=np.nan
  )
  matrix[:4] = np.arange(12).reshape(4, 3)
  return str(tmp_path)


def test_blocks_cover_every_row_once(influence):
  blocks = list(row_blocks(influence, read_dense(influence, 0.7)))
  assert [rows for rows, _ in blocks] == [slice(0, 2), slice(2, 4), slice(4, 5)]
  expected = np.append(np.arange(12.0), [np.nan] * 3).reshape(5, 3)
  whole = np.concatenate([block for _, block in blocks])
  assert whole.dtype == np.float32
  assert np.array_equal(whole, expected, equal_nan=True)


@pytest.mark.parametrize("ratio", [0.7, 0.5])
def test_what_is_not_there_is_an_error(tmp_path, influence, ratio):
  scores = influence if ratio == 0.5 else str(tmp_path / "other")
  with pytest.raises(UsageError, match=rf"ratio {ratio} \(influence\.zarr/ratio-{ratio}\): run"):
    read_dense(scores, ratio)
