import io
from pathlib import Path

import numpy as np
import pytest

from beam_pipelines.storage.scores import published
from files.errors import UsageError

DATA = Path(__file__).parents[3] / "data" / "published"
PAIRS = DATA / "cifar100_high_infl_pairs_infl0.15_mem0.25.npz"
CSCORES = DATA / "cifar10-cscores-first-500.npz"

ARRAYS = {
  "cscores": {"labels": np.array([3, 1]), "scores": np.array([0.25, np.nan])},
  "high_influence_pairs": {
    "tr_idx": np.array([7, 2, 7]),
    "tt_idx": np.array([0, 5, 4]),
    "infl": np.array([0.5, 0.25, 0.125]),
    "mem": np.array([1.0, 0.75, 1.0]),
  },
  "influence_matrix": {
    "tr_labels": np.array([1, 0, 1]),
    "tt_labels": np.array([0, 1]),
    "tr_mem": np.array([0.5, np.nan, 1.0]),
    "tr_classidx_0": np.array([1]),
    "tt_classidx_0": np.array([0]),
    "infl_matrix_class0": np.array([[0.25]]),
    "tr_classidx_1": np.array([0, 2]),
    "tt_classidx_1": np.array([1]),
    "infl_matrix_class1": np.array([[0.5], [0.75]]),
  },
  "infl_mem": {
    "memorization": np.array([0.5, 1.0], np.float32),
    "influence": np.zeros((3, 2), np.float32),
  },
}


def _load(path):
  with np.load(path, allow_pickle=False) as archive:
    return dict(archive)


def _write(path, arrays):
  np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
  return str(path)


def test_reads_the_published_pairs():
  found = published.read(str(PAIRS))
  assert list(found) == ["memorization", "influence"]
  influence, memorization = found["influence"], found["memorization"]
  assert len(influence) == 1015
  assert [len(np.unique(examples)) for examples in influence.index.T] == [964, 888]
  assert influence.scores.min() >= 0.15
  assert len(memorization) == 964
  assert memorization.scores.min() >= 0.25
  raw = _load(PAIRS)
  of_example = dict(zip(memorization.index[:, 0], memorization.scores, strict=True))
  assert [of_example[example] for example in raw["tr_idx"]] == raw["mem"].tolist()


def test_reads_the_published_cscores():
  cscores = published.read(str(CSCORES))["C-score"]
  assert cscores.index[:, 0].tolist() == list(range(500))
  assert cscores.labels[:8, 0].tolist() == [6, 9, 9, 4, 1, 1, 2, 7]  # CIFAR-10's own order
  assert cscores.scores[0] == pytest.approx(0.7031, abs=1e-4)


@pytest.mark.parametrize(
  ("format_name", "path"), [("cscores", CSCORES), ("high_influence_pairs", PAIRS)]
)
def test_writes_what_was_published(tmp_path, format_name, path):
  raw = _load(path)
  published.write(str(tmp_path / "new" / "x.npz"), format_name, raw)
  written = _load(tmp_path / "new" / "x.npz")
  assert list(written) == list(raw)
  for name, array in raw.items():
    assert written[name].dtype == array.dtype
    assert np.array_equal(written[name], array)


@pytest.mark.parametrize("format_name", published.FORMATS)
def test_writes_the_dtypes_of_the_format(tmp_path, format_name):
  narrow = {
    name: array.astype("int32" if array.dtype.kind == "i" else "float32")
    for name, array in ARRAYS[format_name].items()
  }
  published.write(str(tmp_path / "x.npz"), format_name, narrow)
  for name, array in _load(tmp_path / "x.npz").items():
    assert array.dtype == ARRAYS[format_name][name].dtype
    assert np.array_equal(array, ARRAYS[format_name][name], equal_nan=True)


def test_reads_influence_matrices_as_pairs(tmp_path):
  found = published.read(_write(tmp_path / "x.npz", ARRAYS["influence_matrix"]))
  assert found["influence"].index.tolist() == [[1, 0], [0, 1], [2, 1]]
  assert found["influence"].scores.tolist() == [0.25, 0.5, 0.75]
  assert found["influence"].labels.tolist() == [[0, 0], [1, 1], [1, 1]]
  assert found["memorization"].labels.tolist() == [[1], [0], [1]]
  assert np.array_equal(found["memorization"].scores, [0.5, np.nan, 1.0], equal_nan=True)


def test_reads_the_memorization_of_the_demonstration(tmp_path):
  found = published.read(_write(tmp_path / "x.npz", ARRAYS["infl_mem"]))
  assert list(found) == ["memorization"]
  assert found["memorization"].scores.tolist() == [0.5, 1.0]
  assert found["memorization"].labels is None


def test_arrays_that_are_not_needed_are_never_unpickled(tmp_path):
  filenames = np.array(["a", None], object)
  path = _write(tmp_path / "x.npz", {**ARRAYS["cscores"], "filenames": filenames})
  assert published.read(path)["C-score"].labels.tolist() == [[3], [1]]


@pytest.mark.parametrize(
  ("format_name", "changes", "message"),
  [
    ("cscores", {"scores": np.array([0.5, None])}, "array scores cannot be read: Object arrays"),
    ("cscores", {"scores": np.zeros(3)}, r"scores is float64 of shape \(3,\): it must be 2 floats"),
    ("cscores", {"scores": np.zeros((2, 1))}, r"of shape \(2, 1\): it must be 2 floats"),
    ("cscores", {"labels": np.zeros(2)}, r"labels is float64 of shape .*: it must be n integers"),
    ("cscores", {"labels": np.array([-1, 0])}, "labels has -1, which is not in 0…2147483647"),
    ("cscores", {"scores": None}, "is of no known format: it holds labels; docs/published_formats"),
    ("high_influence_pairs", {"infl": np.zeros(2)}, "it must be 3 floats"),
    ("high_influence_pairs", {"tt_idx": np.array([0, 5, 0])}, "holds 7 × 0 twice"),
    ("high_influence_pairs", {"tr_idx": np.array([7, 2, 2**40])}, f"tr_idx has {2**40}, which"),
    ("influence_matrix", {"tr_classidx_1": None}, "has no array tr_classidx_1"),
    ("influence_matrix", {"tr_classidx_1": np.array([0, 3])}, "tr_classidx_1 has 3, .* in 0…2"),
    ("influence_matrix", {"infl_matrix_class1": np.zeros((1, 2))}, "it must be 2 × 1 floats"),
    ("influence_matrix", {"tr_mem": np.zeros(2)}, "tr_mem .* it must be 3 floats"),
    ("infl_mem", {"memorization": np.zeros((2, 2))}, "it must be n floats"),
  ],
)
def test_says_what_is_wrong(tmp_path, format_name, changes, message):
  path = _write(tmp_path / "x.npz", {**ARRAYS[format_name], **changes})
  with pytest.raises(UsageError, match=message) as caught:
    published.read(path)
  assert str(caught.value).startswith(path)


def test_an_archive_of_nothing_is_of_no_known_format(tmp_path):
  path = _write(tmp_path / "x.npz", {})
  with pytest.raises(UsageError, match="is of no known format: it holds nothing"):
    published.read(path)


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.9, 0.99])
def test_a_truncated_file_is_an_error(tmp_path, share):
  content = PAIRS.read_bytes()
  path = tmp_path / "x.npz"
  path.write_bytes(content[: int(share * len(content))])
  with pytest.raises(UsageError, match="is no npz archive, or was cut short"):
    published.read(str(path))


def test_a_damaged_file_is_an_error(tmp_path):
  content = bytearray(PAIRS.read_bytes())
  content[len(content) // 2] ^= 0xFF
  (tmp_path / "x.npz").write_bytes(content)
  with pytest.raises(UsageError, match="array infl cannot be read: "):
    published.read(str(tmp_path / "x.npz"))


def test_a_single_array_is_no_archive(tmp_path):
  buffer = io.BytesIO()
  np.save(buffer, np.zeros(3))
  (tmp_path / "x.npz").write_bytes(buffer.getvalue())
  with pytest.raises(UsageError, match="is no npz archive"):
    published.read(str(tmp_path / "x.npz"))


@pytest.mark.parametrize("name", ["", "missing.npz"])
def test_what_is_no_file_is_an_error(tmp_path, name):
  with pytest.raises(UsageError, match="give a scores directory or a published"):
    published.read(str(tmp_path / name))
