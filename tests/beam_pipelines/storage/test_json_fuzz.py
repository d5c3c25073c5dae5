"""Damaged JSON files of ours: what they should hold, or one line that names the file."""

import copy
import json
import random

import pytest

import files
from beam_pipelines.storage.runs.notes import read_note
from beam_pipelines.storage.scores.manifest import read_manifest, read_stub
from beam_pipelines.storage.scores.publication import finish_publication
from beam_pipelines.storage.scores.tables import make_table
from files.errors import UsageError
from tests.helpers.mutations import mutate
from tests.helpers.scores import make_ratio, publish_tables

NOTE = {"archive": "a.tar.gz", "md5": "0" * 32, "state": "verified", "runs": 3, "share": 0.5}
KINDS = {"archive": str, "md5": str, "state": str, "runs": int, "share": float}
ODD = [None, True, -1, 0, 2**70, 1.5, 1e400, "", "x", "../x", "\ud800", [], [[]], {}, {"": {}}]


def _manifest(directory):
  publish_tables(
    directory,
    ratios=[make_ratio(0.7)],
    skipped=make_table("skipped", path=["x"], reason=["bad"]),
  )
  return json.loads((directory / "manifest.json").read_text())


def _read_scores(directory):
  read_stub(str(directory))
  read_manifest(str(directory))


def _finish(directory):
  (directory / "manifest.json").unlink()
  finish_publication(str(directory))


FILES = {
  "manifest.json": (lambda directory: _manifest(directory), _read_scores),
  "publication.json": (
    lambda directory: {"manifest": _manifest(directory), "replaced": ["skipped/0.parquet"]},
    _finish,
  ),
  "note.json": (
    lambda directory: NOTE,
    lambda directory: read_note(f"{directory}/note.json", KINDS),
  ),
}


def _nodes(value, path=()):
  yield path
  for key, child in value.items() if isinstance(value, dict) else enumerate(value):
    if isinstance(child, (dict, list)):
      yield from _nodes(child, (*path, key))
    else:
      yield (*path, key)


def _change(value, rng):
  """Puts something odd in the place of a part of a JSON value, or takes it away."""
  *path, key = rng.choice([path for path in _nodes(value) if path])
  holder = value
  for step in path:
    holder = holder[step]
  if rng.random() < 0.3:
    del holder[key]
  else:
    holder[key] = copy.deepcopy(rng.choice([*ODD, value]))


def _shapes(value, count):
  yield from (json.dumps(odd).encode() for odd in ODD)
  rng = random.Random(0)
  for _ in range(count):
    changed = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 2))):
      _change(changed, rng)
    yield json.dumps(changed).encode()


@pytest.mark.parametrize("name", FILES)
def test_whatever_the_damage_it_is_one_line(tmp_path, name):
  make, read = FILES[name]
  value = make(tmp_path)
  (tmp_path / "precious").touch()
  kept = {
    info.name: files.read_bytes(str(tmp_path / info.name)) for info in _others(tmp_path, name)
  }
  messages = []
  for content in (*_shapes(value, 400), *mutate(json.dumps(value).encode(), seed=0, count=200)):
    (tmp_path / name).write_bytes(content)
    for other, was in kept.items():
      files.write_bytes(str(tmp_path / other), was)
    try:
      read(tmp_path)
    except UsageError as error:
      messages.append(str(error))
    assert (tmp_path / "precious").exists()
  assert len(messages) > 300
  for message in messages:
    assert message.startswith(str(tmp_path))
    assert "\n" not in message


def _others(directory, name):
  return [info for info in files.list_files(str(directory)) if info.name != name]
