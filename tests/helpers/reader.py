"""Somebody who follows a page of the documentation by copy and paste, and what they have."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

import heldout
from tests.helpers.cifar import write_python
from tests.helpers.idx import emnist, write_idx
from tests.helpers.image_trees import train_files, write_tree
from tests.helpers.imports import make_with_margins, save_arrays
from tests.helpers.layouts import write_lira
from tests.helpers.outcomes import make_outcomes, write_experiment, write_few_digits
from tests.helpers.pages import ROOT, blocks, shape


def follow(page: str, directory: Path) -> None:
  """Runs what a page shows without a title, in its order, in a directory, which is empty.

  Raises:
    AssertionError: something fails, or does not print what the page says.
  """
  for lay_out in _THEIRS.get(page, ()):
    lay_out(directory)
  printed = ""
  for block in (block for block in blocks(page) if not block.title):
    if block.language == "text":
      assert shape(block.code) <= shape(printed), printed
      printed = ""
    elif block.language in ("sh", "python"):
      printed += _run(block.language, block.code, directory)


def _run(language: str, code: str, directory: Path) -> str:
  """Runs a block in a directory; returns what it prints, with the paths that a reader would see."""
  program = ["bash", "-euo", "pipefail", "-c"] if language == "sh" else [sys.executable, "-c"]
  paths = {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "PYTHONPATH": str(ROOT),
  }
  result = subprocess.run(
    [*program, code], cwd=directory, env=os.environ | paths, capture_output=True, text=True
  )
  assert result.returncode == 0, f"{code}\n{result.stdout}\n{result.stderr}"
  return (result.stdout + result.stderr).replace(f"{directory.resolve()}/", "")


def _mnist(directory: Path) -> None:
  (directory / "mnist").mkdir()
  write_idx(directory / "mnist", _few_digits())


def _letters(directory: Path) -> None:
  (directory / "emnist").mkdir()
  write_idx(directory / "emnist", emnist(_few_digits(), "letters", 1), "{}-idx{}-ubyte.gz")


def _cifar(directory: Path) -> None:
  (directory / "cifar-10-batches-py").mkdir()
  images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), np.uint8)
  write_python(directory / "cifar-10-batches-py", images, np.arange(12) % 10)


def _blood_cells(directory: Path) -> None:
  arrays = _few_digits()
  np.savez(
    directory / "bloodmnist.npz",
    train_images=arrays["train-images"],
    train_labels=arrays["train-labels"][:, np.newaxis],
    val_images=arrays["t10k-images"][:10],
    val_labels=arrays["t10k-labels"][:10, np.newaxis],
    test_images=arrays["t10k-images"][10:],
    test_labels=arrays["t10k-labels"][10:, np.newaxis],
  )


def _few_digits() -> dict[str, np.ndarray]:
  """Returns real digits as uint8, by the names of MNIST's files."""
  digits = heldout.load_dataset("digits")  # which come sorted by label
  some = {"train": digits.train, "t10k": digits.test}
  places = {name: np.arange(0, len(split), len(split) // 60) for name, split in some.items()}
  return {f"{name}-images": 15 * some[name].images[places[name], ..., 0] for name in some} | {
    f"{name}-labels": some[name].labels[places[name]] for name in some
  }


def _birds(directory: Path) -> None:
  for split in ("train", "validation"):
    write_tree(directory / "birds" / split, train_files())


def _data(directory: Path) -> None:
  write_few_digits(directory / "data.npz")


def _outcome_arrays(directory: Path) -> None:
  save_arrays(directory, make_with_margins())


def _shadow_models(directory: Path) -> None:
  labels = heldout.load_dataset(f"npz:{directory}/data.npz").train.labels
  write_lira(directory / "exp" / "cifar10", make_with_margins(), labels)


def _scores_and_published(directory: Path) -> None:
  runs, scores = directory / "runs", directory / "scores"
  write_experiment(runs, make_outcomes(0.7, range(20)))
  heldout.score(runs, scores, dataset=write_few_digits(directory / "data.npz"))
  published = directory / "cifar100-cscores-orig-order.npz"
  heldout.export(scores, format="cscores", output=published)


_THEIRS: dict[str, tuple[Callable[[Path], None], ...]] = {
  "README.md": (_outcome_arrays,),
  "docs/coming_from.md": (_scores_and_published,),
  "docs/datasets.md": (_mnist, _letters, _cifar, _blood_cells),
  "docs/outcomes_elsewhere.md": (_outcome_arrays, _data, _shadow_models),
  "docs/published_formats.md": (_scores_and_published,),
  "docs/tfrecords.md": (_birds,),
}
"""What a page takes for granted that its reader has."""
