import io
from pathlib import Path

import numpy as np
import pytest

from beam_pipelines.storage.scores import published
from estimators.agreement import common_rows
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
  found = published.read(str(PAIRS)).kinds
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
  cscores = published.read(str(CSCORES)).kinds["C-score"]
  assert cscores.index[:, 0].tolist() == list(range(500))
  assert cscores.labels[:8, 0].tolist() == [6, 9, 9, 4, 1, 1, 2, 7]  # CIFAR-10's own order
  assert cscores.scores[0] == pytest.approx(0.7031, abs=1e-4)


@pytest.mark.parametrize(
  ("format_name", "path"), [("cscores", CSCORES), ("high_influence_pairs", PAIRS)]
)
def test_writes_what_was_published(format_name, path):
  raw = _load(path)
  written = _load(io.BytesIO(published.encode(format_name, raw)))
  assert list(written) == list(raw)
  for name, array in raw.items():
    assert written[name].dtype == array.dtype
    assert np.array_equal(written[name], array)


@pytest.mark.parametrize("format_name", published.FORMATS)
def test_writes_the_dtypes_of_the_format(format_name):
  narrow = {
    name: array.astype("int32" if array.dtype.kind == "i" else "float32")
    for name, array in ARRAYS[format_name].items()
  }
  for name, array in _load(io.BytesIO(published.encode(format_name, narrow))).items():
    assert array.dtype == ARRAYS[format_name][name].dtype
    assert np.array_equal(array, ARRAYS[format_name][name], equal_nan=True)


def test_reads_influence_matrices_as_pairs(tmp_path):
  found = published.read(_write(tmp_path / "x.npz", ARRAYS["influence_matrix"])).kinds
  assert found["influence"].index.tolist() == [[1, 0], [0, 1], [2, 1]]
  assert found["influence"].scores.tolist() == [0.25, 0.5, 0.75]
  assert found["influence"].labels.tolist() == [[0, 0], [1, 1], [1, 1]]
  assert found["memorization"].labels.tolist() == [[1], [0], [1]]
  assert np.array_equal(found["memorization"].scores, [0.5, np.nan, 1.0], equal_nan=True)


@pytest.mark.parametrize("format_name", published.FORMATS)
def test_what_is_written_is_read(tmp_path, format_name):
  (tmp_path / "x.npz").write_bytes(published.encode(format_name, ARRAYS[format_name]))
  written = published.read(str(tmp_path / "x.npz"))
  given = published.read(_write(tmp_path / "y.npz", ARRAYS[format_name]))
  assert written.kinds.keys() == given.kinds.keys()
  for kind, scores in given.kinds.items():
    first, second = common_rows(scores, written.kinds[kind])
    assert len(first) == len(scores) > 0
    assert np.array_equal(first.scores, second.scores, equal_nan=True)


def test_reads_the_demonstration_as_test_by_train(tmp_path):
  influence = np.array([[0.1, 0.2], [0.3, 0.4], [0.5, np.nan]], np.float32)
  arrays = {**ARRAYS["infl_mem"], "influence": influence}
  found = published.read(_write(tmp_path / "x.npz", arrays)).kinds
  assert list(found) == ["memorization", "influence"]
  assert found["memorization"].scores.tolist() == [0.5, 1.0]
  assert found["memorization"].labels is None
  assert np.array_equal(found["influence"].matrix, influence.T, equal_nan=True)  # train × test
  assert found["influence"].at(np.array([[1, 0], [0, 2], [1, 3]])).scores.tolist() == [
    np.float32(0.2),
    np.float32(0.5),
  ]


def test_memorization_alone_is_read(tmp_path):
  path = _write(tmp_path / "x.npz", {"memorization": np.array([0.25, -0.5])})
  found = published.read(path).kinds
  assert list(found) == ["memorization"]
  assert found["memorization"].index.tolist() == [[0], [1]]
  assert found["memorization"].scores.tolist() == [0.25, -0.5]


IMAGENET_INDEX = {
  "tr_filenames": np.array([b"n01440764_10026.JPEG", b"n01440764_10027.JPEG"]),
  "tr_labels": np.array([0, 0]),
  "tt_filenames": np.array([b"ILSVRC2012_val_00000293.JPEG"]),
  "tt_labels": np.array([0]),
  "tr_mem": np.array([0.75, 0.0]),
}


def test_reads_the_index_of_imagenet(tmp_path):
  found = published.read(_write(tmp_path / "x.npz", IMAGENET_INDEX))
  assert list(found.kinds) == ["memorization"]
  assert found.kinds["memorization"].scores.tolist() == [0.75, 0.0]
  assert found.kinds["memorization"].labels.tolist() == [[0], [0]]
  assert found.train_names.tolist() == ["n01440764_10026", "n01440764_10027"]
  assert found.test_names.tolist() == ["ILSVRC2012_val_00000293"]


def test_matrices_without_memorization_are_read(tmp_path):
  few = ("tr_classidx_1", "tt_classidx_1", "infl_matrix_class1")
  path = _write(tmp_path / "x.npz", {name: ARRAYS["influence_matrix"][name] for name in few})
  found = published.read(path).kinds
  assert list(found) == ["influence"]
  assert found["influence"].index.tolist() == [[0, 1], [2, 1]]
  assert found["influence"].labels is None


@pytest.mark.parametrize(
  "names",
  [
    np.array([b"n1_1.JPEG", b"n1_2.JPEG"]),
    np.array(["n1_1", "n1_2"]),
    np.array(["train/n1/n1_1.jpg", "train/n1/n1_2.png"]),
    np.array([b"n1/n1_1", b"n1/n1_2"]),
  ],
)
def test_file_names_may_be_bytes_with_directory_and_suffix_or_without(tmp_path, names):
  path = _write(tmp_path / "x.npz", {**ARRAYS["cscores"], "filenames": names})
  found = published.read(path)
  assert found.train_names.tolist() == ["n1_1", "n1_2"]
  assert found.kinds["C-score"].labels.tolist() == [[3], [1]]


def test_directories_stay_where_names_differ_by_them_alone(tmp_path):
  names = np.array(["cat/1.png", "dog/1.png"])
  found = published.read(_write(tmp_path / "x.npz", {**ARRAYS["cscores"], "filenames": names}))
  assert found.train_names.tolist() == ["cat/1", "dog/1"]


def test_arrays_that_are_not_needed_are_never_unpickled(tmp_path):
  config = np.array(["a", None], object)
  path = _write(tmp_path / "x.npz", {**ARRAYS["cscores"], "config": config})
  assert published.read(path).kinds["C-score"].labels.tolist() == [[3], [1]]


@pytest.mark.parametrize("dtype", ["float64", "float32", ">f8", "float16"])
def test_a_bare_array_is_scores_that_have_no_name(tmp_path, dtype):
  np.save(tmp_path / "x.npy", np.array([0.25, 1.0, np.nan], dtype))
  found = published.read(str(tmp_path / "x.npy")).kinds
  assert list(found) == [published.UNNAMED]
  assert found[published.UNNAMED].index.tolist() == [[0], [1], [2]]
  assert np.array_equal(found[published.UNNAMED].scores, [0.25, 1.0, np.nan], equal_nan=True)


def test_scores_without_labels_have_no_name_either(tmp_path):
  path = _write(tmp_path / "x.npz", {"scores": np.array([0.5])})
  assert list(published.read(path).kinds) == [published.UNNAMED]


@pytest.mark.parametrize(
  ("array", "message"),
  [
    (np.array([0.5, None]), "cannot be read: the array is of Python objects; fetch it again"),
    (np.zeros((2, 2)), r"its array is float64 of shape \(2, 2\): it must be n floats"),
    (np.zeros(2, int), "its array is int64 of shape .*: it must be n floats"),
    (np.zeros(2, [("a", "f8")]), "cannot be read: the array is of raw or structured records"),
    (np.array([0, np.nan, np.inf]), "its array has inf, which is no score: undefined ones are NaN"),
    (np.array([-np.inf, np.nan], np.float16), "its array has -inf, which is no score"),
    (np.array([0.5, 1e39]), r"its array has 1e\+39, which is no score"),
  ],
)
def test_says_what_is_wrong_with_a_bare_array(tmp_path, array, message):
  path = str(tmp_path / "x.npy")
  np.save(path, array)
  with pytest.raises(UsageError, match=message) as caught:
    published.read(path)
  assert str(caught.value).startswith(path)
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.99])
def test_a_bare_array_that_was_cut_short_is_an_error(tmp_path, share):
  buffer = io.BytesIO()
  np.save(buffer, np.zeros(1000))
  path = tmp_path / "x.npy"
  path.write_bytes(buffer.getvalue()[: int(share * len(buffer.getvalue()))])
  with pytest.raises(UsageError, match=r"x\.npy cannot be read: "):
    published.read(str(path))


@pytest.mark.parametrize(
  ("format_name", "changes", "message"),
  [
    (
      "cscores",
      {"scores": np.array([0.5, None])},
      "cannot be read: array scores is of Python objects; fetch it",
    ),
    ("cscores", {"scores": np.zeros(3)}, r"scores is float64 of shape \(3,\): it must be 2 floats"),
    ("cscores", {"scores": np.zeros((2, 1))}, r"of shape \(2, 1\): it must be 2 floats"),
    ("cscores", {"scores": np.array([0.5, np.inf])}, "array scores has inf, which is no score"),
    ("high_influence_pairs", {"infl": np.array([-np.inf, 0, 0])}, "array infl has -inf, which"),
    ("high_influence_pairs", {"mem": np.array([0, np.inf, 0])}, "array mem has inf, which"),
    ("influence_matrix", {"tr_mem": np.array([0, 0, np.inf])}, "array tr_mem has inf, which"),
    ("influence_matrix", {"infl_matrix_class1": np.array([[np.inf], [0]])}, "class1 has inf, whi"),
    ("infl_mem", {"influence": np.array([[0, -np.inf]], np.float32)}, "influence has -inf, which"),
    ("cscores", {"labels": np.zeros(2)}, r"labels is float64 of shape .*: it must be n integers"),
    ("cscores", {"labels": np.array([-1, 0])}, "labels has -1, which is not in 0…2147483647"),
    ("cscores", {"scores": None}, "is of no known format: it holds labels; docs/published_formats"),
    (
      "cscores",
      {"filenames": np.array(["a", None])},
      "cannot be read: array filenames is of Python objects; fetch",
    ),
    (
      "cscores",
      {"filenames": np.array(["a"])},
      "filenames is <U1 .*: it must be 2 byte or Unicode",
    ),
    ("cscores", {"filenames": np.array(["a", "a"])}, "array filenames has a twice"),
    ("cscores", {"filenames": np.array([b"a", b"\xff"])}, "filenames has a name that is not UTF-8"),
    ("high_influence_pairs", {"infl": np.zeros(2)}, "it must be 3 floats"),
    ("high_influence_pairs", {"tt_idx": np.array([0, 5, 0])}, "holds 7 × 0 twice"),
    ("high_influence_pairs", {"tr_idx": np.array([7, 2, 2**40])}, f"tr_idx has {2**40}, which"),
    ("influence_matrix", {"tr_classidx_1": None}, "has no array tr_classidx_1"),
    ("influence_matrix", {"tr_classidx_1": np.array([0, 3])}, "tr_classidx_1 has 3, .* in 0…2"),
    ("influence_matrix", {"infl_matrix_class1": np.zeros((1, 2))}, "it must be 2 × 1 floats"),
    ("influence_matrix", {"tr_mem": np.zeros(2)}, "tr_mem .* it must be 3 floats"),
    ("infl_mem", {"memorization": np.zeros((2, 2))}, "it must be n floats"),
    ("infl_mem", {"influence": np.zeros((2, 3))}, "array influence .* it must be n × 2 floats"),
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


def test_an_empty_file_is_an_error(tmp_path):
  (tmp_path / "x.npz").write_bytes(b"")
  with pytest.raises(
    UsageError, match=r"x\.npz is neither \.npz nor \.npy: give a scores directory"
  ):
    published.read(str(tmp_path / "x.npz"))


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9, 0.99])
def test_a_truncated_file_is_an_error(tmp_path, share):
  content = PAIRS.read_bytes()
  path = tmp_path / "x.npz"
  path.write_bytes(content[: int(share * len(content))])
  with pytest.raises(UsageError, match=r"x\.npz cannot be read: .*; fetch it again"):
    published.read(str(path))


def test_a_damaged_file_is_an_error(tmp_path):
  content = bytearray(PAIRS.read_bytes())
  content[len(content) // 2] ^= 0xFF
  (tmp_path / "x.npz").write_bytes(content)
  with pytest.raises(UsageError, match="cannot be read: array infl does not unpack to "):
    published.read(str(tmp_path / "x.npz"))


@pytest.mark.parametrize("name", ["", "missing.npz"])
def test_what_is_no_file_is_an_error(tmp_path, name):
  with pytest.raises(UsageError, match="give a scores directory or a published"):
    published.read(str(tmp_path / name))


@pytest.mark.parametrize("format_name", [*published.FORMATS, "bare"])
def test_whatever_the_bytes_the_outcome_is_scores_or_one_line(tmp_path, format_name):
  path = tmp_path / "x"
  if format_name == "bare":
    np.save(path.with_suffix(".npy"), np.linspace(0, 1, 20))
    content = path.with_suffix(".npy").read_bytes()
  else:
    content = published.encode(format_name, ARRAYS[format_name])
  rng = np.random.default_rng(0)
  refusals = []
  for _ in range(300):
    damaged = bytearray(content)
    for position in rng.integers(len(content), size=rng.integers(1, 4)):
      damaged[position] = rng.integers(256)
    path.write_bytes(damaged)
    try:
      published.read(str(path))
    except UsageError as error:
      refusals.append(str(error))
  assert len(refusals) > 30
  assert all(line.startswith(str(path)) and "\n" not in line for line in refusals)
