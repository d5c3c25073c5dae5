import numpy as np
import pytest

import files
from beam_pipelines.storage.scores.dense import create_dense, read_dense, row_blocks, write_rows
from beam_pipelines.storage.scores.directory import DENSE
from beam_pipelines.storage.scores.publication import publish
from beam_pipelines.storage.scores.staging import Staging
from files.errors import UsageError
from tests.helpers.scores import make_manifest

EXPECTED = np.append(np.arange(12, dtype=np.float32), [np.nan] * 3).reshape(5, 3)


@pytest.fixture
def influence(tmp_path):
  """A matrix of 5 training and 3 test examples, in chunks of 2 rows; the last row is undefined."""
  staging = Staging.begin(str(tmp_path), "job")
  group = files.join(staging.path, DENSE)
  parts = create_dense(group, 0.7, (5, 3), 2)
  for start in (0, 2, 4):
    parts += write_rows(group, 0.7, start, EXPECTED[start : start + 2])
  publish(staging, make_manifest(parts, examples=(5, 3)))
  return str(tmp_path)


def test_blocks_cover_every_row_once(influence):
  blocks = list(row_blocks(influence, read_dense(influence, 0.7)))
  assert [rows for rows, _ in blocks] == [slice(0, 2), slice(2, 4), slice(4, 5)]
  whole = np.concatenate([block for _, block in blocks])
  assert whole.dtype == np.float32
  assert np.array_equal(whole, EXPECTED, equal_nan=True)


def test_undefined_rows_are_written_like_others(tmp_path, influence):
  assert {path.name for path in (tmp_path / DENSE / "ratio-0.7" / "c").iterdir()} == {"0", "1", "2"}


def test_a_ratio_that_was_not_scored_is_an_error(influence):
  with pytest.raises(UsageError, match=r"ratio 0\.5 \(influence\.zarr/ratio-0\.5\): score"):
    read_dense(influence, 0.5)


def test_a_chunk_that_was_copied_over_another_is_not_read(tmp_path, influence):
  chunks = tmp_path / DENSE / "ratio-0.7" / "c"
  content = (chunks / "0" / "0").read_bytes()
  (chunks / "1" / "0").write_bytes(content)
  with pytest.raises(UsageError, match=r"c/1/0 is not the file that manifest\.json names"):
    list(row_blocks(influence, read_dense(influence, 0.7)))


def test_a_chunk_that_is_lost_is_not_read_as_undefined(tmp_path, influence):
  (tmp_path / DENSE / "ratio-0.7" / "c" / "1" / "0").unlink()
  with pytest.raises(UsageError, match=r"c/1/0 is missing"):
    list(row_blocks(influence, read_dense(influence, 0.7)))


def test_without_test_examples_there_is_nothing_to_write(tmp_path):
  group = str(tmp_path / DENSE)
  assert len(create_dense(group, 0.7, (5, 0), 2)) == 2
  assert write_rows(group, 0.7, 0, np.empty((2, 0), np.float32)) == []


def test_workers_that_find_no_group_at_once_make_one(tmp_path, monkeypatch):
  group = str(tmp_path / DENSE)
  others = create_dense(group, 0.3, (5, 3), 2)

  def read_before_the_other_wrote(path):
    monkeypatch.undo()
    raise FileNotFoundError(path)

  monkeypatch.setattr(files, "read_bytes", read_before_the_other_wrote)
  ours = create_dense(group, 0.7, (5, 3), 2)
  assert ours[0] == others[0]
  assert {path.name for path in (tmp_path / DENSE).iterdir()} == {
    "ratio-0.3",
    "ratio-0.7",
    "zarr.json",
  }
