"""Files of PyTorch's that are refused by what they are made of: PyTorch is not needed for that."""

import io
import pickle
import zipfile

import numpy as np
import pytest

from beam_pipelines.storage.layouts.matrices import open_matrix
from files.errors import UsageError


class _Fake:
  """Pickled as a call of something that PyTorch takes for harmless."""

  def __reduce__(self):
    return bytearray, (1 << 40,)


def _archive(pickled=b"\x80\x02N.", packed=(), method=zipfile.ZIP_STORED):
  """Returns an archive like PyTorch's: a pickle, and the numbers that it refers to."""
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, "w") as archive:
    archive.writestr("masks/data.pkl", pickled)
    archive.writestr("masks/data/0", bytes(1000))
    for content in packed:
      archive.writestr("masks/data/1", content, method)
  return buffer.getvalue()


def _overlapping():
  """Each entry of the directory is the same thousand bytes."""
  content = _archive()
  end = content.rindex(b"PK\5\6")
  start = int.from_bytes(content[end + 16 : end + 20], "little")
  entries = content[start:end]
  last = entries[entries.rindex(b"PK\1\2") :]
  repeated = entries + 1000 * last
  return (
    content[:start]
    + repeated
    + content[end : end + 8]
    + 2 * (1002).to_bytes(2, "little")
    + len(repeated).to_bytes(4, "little")
    + content[end + 16 :]
  )


MORE = "holds more than tensors, which is not unpickled: save the tensor alone, or as .npy"
REFUSED = {
  "bomb": (
    lambda: _archive(packed=[bytes(1 << 24)], method=zipfile.ZIP_DEFLATED),
    "is damaged: masks/data/1 is packed, which PyTorch never does",
  ),
  "within each other": (_overlapping, "is damaged: its parts lie within each other"),
  "not since 1.6": (
    lambda: pickle.dumps([1]),
    "is none of PyTorch's archives of since 1.6 (it is no zip archive, or was cut short): save it",
  ),
  "cut": (lambda: _archive()[:-30], "(it is no zip archive, or was cut short)"),
  "a call": (lambda: _archive(pickle.dumps(_Fake(), 2)), MORE),
  "a call of today": (lambda: _archive(pickle.dumps(_Fake(), 4)), MORE),
  "no pickle": (lambda: _archive(b"\x80\x02cbuiltins"), "is damaged or " + MORE),
  "a long pickle": (lambda: _archive(bytes((1 << 24) + 1)), "is damaged or " + MORE),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_before_pytorch_sees_it(tmp_path, name):
  make, reason = REFUSED[name]
  path = tmp_path / "masks.pt"
  path.write_bytes(make())
  with pytest.raises(UsageError) as error:
    open_matrix(str(path), "masks")
  assert str(error.value).startswith(f"{path} ")
  assert reason in str(error.value)
  assert "\n" not in str(error.value)


def test_damage_anywhere_is_one_line(tmp_path):
  """Whether or not PyTorch is there to see it."""
  path = tmp_path / "masks.pt"
  sound = _archive()
  rng = np.random.default_rng(0)
  for _ in range(200):
    changed = bytearray(sound)
    for where in rng.integers(0, len(sound), 3):
      changed[where] = rng.integers(256)
    path.write_bytes(changed[: len(sound) - int(rng.integers(2)) * 20])
    with pytest.raises(UsageError, match=r"\A[^\n]*masks.pt [^\n]*\Z"):
      open_matrix(str(path), "masks")
