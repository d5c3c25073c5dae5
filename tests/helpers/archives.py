"""Archives of runs, good ones and bad ones."""

import gzip
import hashlib
import io
import tarfile


def member(name, content=b"", kind=tarfile.REGTYPE, **fields):
  """Returns a member as `make_archive` takes it; `fields` are those of `tarfile.TarInfo`."""
  info = tarfile.TarInfo(name)
  info.type, info.size = kind, len(content)
  for field, value in fields.items():
    setattr(info, field, value)
  return info, content


def run_members(key, top="experiment/", aux_first=False):
  """Returns the members of a run like those of the released archives, but small."""
  directory = f"{top}{key.subset_ratio}/{key.run}"
  seed = f"{key}".encode()
  members = [
    member(f"{directory}/checkpoints", kind=tarfile.DIRTYPE),
    member(f"{directory}/checkpoints/ckpt-5.index", b"index" + seed),
    member(f"{directory}/checkpoints/ckpt-5.data-00000-of-00001", 50 * seed),
  ]
  aux = member(f"{directory}/aux_arrays.npz", b"aux" + seed)
  return [aux, *members] if aux_first else [*members, aux]


def make_archive(members):
  """Returns the bytes of a .tar.gz."""
  buffer = io.BytesIO()
  with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
    for info, content in members:
      archive.addfile(info, io.BytesIO(content))
  return gzip.compress(buffer.getvalue(), mtime=0)


def md5(content):
  return hashlib.md5(content).hexdigest()


def plain_files(members):
  """Returns the contents of the plain files by their names below the top directory."""
  return {info.name.partition("/")[2]: content for info, content in members if info.isreg()}
