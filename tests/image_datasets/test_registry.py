import doctest
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from files.errors import UsageError
from image_datasets import (
  DatasetError,
  dataset_path,
  describe_specs,
  is_in_data_dir,
  load_dataset,
  names,
  registry,
)


@pytest.fixture
def npz_path(tmp_path, real_digits):
  images, labels = real_digits
  path = tmp_path / "a:b.npz"
  np.savez(path, train__image=images, train__label=labels, test__image=images, test__label=labels)
  return path


def test_a_spec_is_split_at_its_first_colon(npz_path):
  dataset = load_dataset(f"npz:{npz_path}")
  assert dataset.spec == f"npz:{npz_path}"
  assert len(dataset.train) == 100


@pytest.mark.parametrize("module", [names, registry])
def test_the_examples_in_the_documentation_run(module):
  assert doctest.testmod(module).attempted
  assert doctest.testmod(module).failed == 0


def test_what_is_wrong_with_a_data_set_is_what_is_wrong_with_a_command():
  assert issubclass(DatasetError, UsageError)


def test_an_unknown_kind_lists_the_known_ones():
  with pytest.raises(DatasetError) as raised:
    load_dataset("mnist")
  message = str(raised.value)
  assert message.startswith("unknown data set 'mnist': use one of ")
  for usage in ("digits", "tfds:NAME[:VERSION]", "idx:DIR[/NAME]", "cifar:DIR", "npz:FILE"):
    assert usage in message
  for example in ("tfds:cifar100:3.0.2", "idx:gs://bucket/mnist", "npz:birds.npz"):
    assert example in message
  assert "\n" not in message


@pytest.mark.parametrize(
  ("spec", "near"), [("digit", "digits"), ("tdfs:mnist", "tfds"), ("npy:a.npz", "npz")]
)
def test_an_unknown_kind_suggests_a_near_one(spec, near):
  with pytest.raises(DatasetError, match=rf"unknown data set '{spec}' \(did you mean {near}\?\)"):
    load_dataset(spec)


@pytest.mark.parametrize("kind", ["tfds", "idx", "cifar", "npz"])
@pytest.mark.parametrize("end", ["", ":"])
def test_a_missing_argument_is_asked_for(kind, end):
  with pytest.raises(DatasetError, match=f"^data set '{kind}{end}': write {kind}:[A-Z]+.* e.g. "):
    load_dataset(kind + end)


def test_an_argument_too_many_is_refused():
  with pytest.raises(DatasetError, match=r"^data set 'digits:8': write digits "):
    load_dataset("digits:8")


@pytest.mark.parametrize(
  ("spec", "data_dir", "path", "in_data_dir"),
  [
    ("digits", None, None, False),
    ("npz:gs://bucket/birds.npz", "/tfds", "gs://bucket/birds.npz", False),
    ("npz:a:b.npz", None, "a:b.npz", False),
    ("idx:/mnist", None, "/mnist", False),
    ("cifar:data", None, "data", False),
    ("tfds:cifar100:3.0.2", "gs://bucket/tfds", "gs://bucket/tfds", True),
    ("tfds:cifar100:3.0.2", None, None, True),
    ("npz:", None, None, False),
    ("unknown:x", None, None, False),
    ("", None, None, False),
  ],
)
def test_where_files_lie_follows_from_the_spec(spec, data_dir, path, in_data_dir):
  assert dataset_path(spec, data_dir) == path
  assert is_in_data_dir(spec) == in_data_dir


def test_describe_specs_gives_one_line_per_kind():
  lines = describe_specs().splitlines()
  assert [line.split()[0] for line in lines] == [
    "digits",
    "tfds:NAME[:VERSION]",
    "idx:DIR[/NAME]",
    "cifar:DIR",
    "npz:FILE",
    "tfrecord:PATTERN",
  ]
  assert "%" not in describe_specs()  # argparse would take it for a placeholder


def test_the_page_explains_each_kind():
  page = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text()
  for line in describe_specs().splitlines():
    usage = line.split()[0]
    kind = usage.partition(":")[0]
    assert f"| `{usage}` |" in page
    section = page.partition(f"\n## {usage}\n")[2].partition("\n## ")[0]
    assert f"\nheldout train --dataset={kind}" in section


def test_only_tfds_imports_tensorflow_and_nothing_beam(npz_path):
  script = f"""
import sys
from image_datasets import load_dataset
load_dataset("digits")
load_dataset("npz:{npz_path}")
print(sys.modules.keys() & ["apache_beam", "tensorflow"])
"""
  output = subprocess.run(
    [sys.executable, "-c", script], capture_output=True, text=True, check=True
  )
  assert output.stdout == "set()\n"
