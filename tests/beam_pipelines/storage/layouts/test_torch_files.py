"""Tensors that PyTorch has saved; it is no part of the environment, but these run where it is."""

import os
import zipfile

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
  torch.save({1: torch.zeros(2)}, path)
  assert open_matrix(str(path), "indices").shape == (2,)


@pytest.mark.parametrize(
  ("tensor", "reason"),
  [
    (torch.zeros(1).as_strided((1 << 40,), (0,)), "that repeats fewer numbers: save"),
    (torch.sparse_coo_tensor(torch.tensor([[0], [0]]), torch.ones(1)), "not plain numbers"),
    (torch.zeros(2, dtype=torch.complex64), "not plain numbers"),
    (torch.zeros(2, device="meta"), "not plain numbers"),
  ],
)
def test_tensors_that_are_no_plain_numbers_are_refused(tmp_path, tensor, reason):
  path = tmp_path / "indices.pt"
  torch.save(tensor, path)
  with pytest.raises(UsageError, match=reason):
    open_matrix(str(path), "indices")


def test_storage_that_claims_more_than_there_is_is_refused(tmp_path):
  path = tmp_path / "indices.pt"
  torch.save(torch.zeros(20), path)
  with zipfile.ZipFile(path) as archive:
    members = {info.filename: archive.read(info) for info in archive.infolist()}
  with zipfile.ZipFile(path, "w") as archive:
    for name, content in members.items():
      claims = content.replace(b"K\x14tq", b"\x8a\x06\0\0\0\0\0\x01tq")  # 20, and 2 ** 40
      assert (claims != content) == name.endswith("data.pkl")
      archive.writestr(name, claims)
  with pytest.raises(UsageError, match="is damaged or holds more than tensors"):
    open_matrix(str(path), "indices")
