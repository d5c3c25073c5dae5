"""Tensors that PyTorch has saved; it is no part of the environment, but these run where it is."""

import os

import pytest

from beam_pipelines.storage.layouts.matrices import open_matrix
from files.errors import UsageError

torch = pytest.importorskip("torch", reason="PyTorch is optional: it takes gigabytes")


class _Command:
  def __init__(self, command):
    self._command = command

  def __reduce__(self):
    return os.system, (self._command,)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.float16, torch.bfloat16])
def test_tensors_are_read(tmp_path, dtype):
  path = str(tmp_path / "indices.pt")
  tensor = torch.arange(12).reshape(3, 4).to(dtype)
  for content in (tensor, {"indices": tensor, "other": torch.zeros(1)}, {"any": tensor}):
    torch.save(content, path)
    matrix = open_matrix(path, "indices")
    assert matrix.shape == (3, 4)
    assert matrix.read(1, 3).tolist() == tensor[1:].tolist()


def test_what_would_run_when_it_is_unpickled_does_not(tmp_path):
  path = str(tmp_path / "indices.pt")
  torch.save(_Command(f"touch {tmp_path}/done"), path)
  with pytest.raises(UsageError, match=r"\A[^\n]*which is not unpickled[^\n]*\Z"):
    open_matrix(path, "indices")
  assert not (tmp_path / "done").exists()


def test_other_things_than_tensors_are_refused(tmp_path):
  path = tmp_path / "indices.pt"
  torch.save([1, 2], path)
  with pytest.raises(UsageError, match="holds a list, not a tensor"):
    open_matrix(str(path), "indices")
  torch.save({"a": torch.zeros(1), "b": torch.zeros(1)}, path)
  with pytest.raises(UsageError, match="the array must be called indices"):
    open_matrix(str(path), "indices")
  path.write_bytes(b"PK")
  with pytest.raises(UsageError, match="is damaged or holds more than tensors"):
    open_matrix(str(path), "indices")
