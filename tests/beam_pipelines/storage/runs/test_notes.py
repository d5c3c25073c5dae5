import json

import pytest

from beam_pipelines.storage.runs.notes import read_note
from files.errors import UsageError

KINDS = {"name": str, "flag": bool, "count": int, "rate": float}
NOTE = {"name": "x", "flag": True, "count": 3, "rate": 0.5}


def _write(tmp_path, value):
  path = tmp_path / "note.json"
  path.write_text(json.dumps(value))
  return str(path)


def test_reads_what_matters(tmp_path):
  assert read_note(_write(tmp_path, {**NOTE, "more": []}), KINDS) == NOTE
  assert read_note(_write(tmp_path, {**NOTE, "rate": 1}), KINDS)["rate"] == 1


@pytest.mark.parametrize(
  ("value", "message"),
  [
    ([NOTE], "is a list, not what Heldout wrote"),
    ("x", "is a text, not what Heldout wrote"),
    (None, "is null, not what Heldout wrote"),
    ({}, 'has no "name"'),
    ({**NOTE, "name": 3}, '"name" is a whole number, not a text'),
    ({**NOTE, "flag": 1}, '"flag" is a whole number, not true or false'),
    ({**NOTE, "count": True}, '"count" is true or false, not a whole number'),
    ({**NOTE, "count": 0.5}, '"count" is a number, not a whole number'),
    ({**NOTE, "count": None}, '"count" is null, not a whole number'),
    ({**NOTE, "rate": [0.5]}, '"rate" is a list, not a number'),
    ({**NOTE, "rate": {}}, '"rate" is an object, not a number'),
  ],
)
def test_what_is_no_note_is_one_line(tmp_path, value, message):
  path = _write(tmp_path, value)
  with pytest.raises(UsageError) as caught:
    read_note(path, KINDS)
  assert str(caught.value).startswith(path)
  assert message in str(caught.value)
  assert str(caught.value).endswith(": restore the file, or choose another directory")
