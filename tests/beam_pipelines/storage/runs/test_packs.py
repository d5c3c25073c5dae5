import hashlib
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from beam_pipelines.storage.runs import packed_part, packs
from beam_pipelines.storage.runs.experiment import list_runs, require_runs
from beam_pipelines.storage.runs.judgement import UnusableRunError, read_packed
from beam_pipelines.storage.runs.run_place import RunKey
from files.errors import UsageError
from tests.helpers import parquet_bombs
from tests.helpers.outcomes import add_margins, make_outcomes, write_experiment
from tests.helpers.packs import without_test, without_train, write_pack


def _reasons(listing):
  return {skipped.path: skipped.reason for skipped in listing.skipped}


def _read_all(listing, **options):
  return [found for part in listing.packed for _, found in read_packed(part, **options)]


@pytest.mark.parametrize("change", [list, without_test, without_train])
def test_what_was_written_is_read(tmp_path, change):
  outcomes = change(make_outcomes(0.5, [0, 1, 2, 5, 6, 100, 2**62]))
  write_pack(tmp_path, outcomes)
  listing = list_runs(str(tmp_path))
  assert listing.skipped == ()
  assert listing.keys == [outcome.key for outcome in outcomes]
  assert _read_all(listing) == outcomes
  assert [part.part.runs for part in listing.packed] == [
    ((0, 2),),
    ((5, 6), (100, 100)),
    ((2**62, 2**62),),
  ]


def test_parts_are_read_by_row_groups(tmp_path, monkeypatch):
  monkeypatch.setattr(packed_part, "_GROUP_BYTES", 200)
  outcomes = make_outcomes(0.5, range(10))
  directory = write_pack(tmp_path, outcomes, runs_per_part=10)
  assert pq.ParquetFile(f"{directory}/runs-from-000000.parquet").num_row_groups > 1
  assert _read_all(list_runs(str(tmp_path))) == outcomes


def test_digests_tell_outcomes_apart_whatever_their_ids(tmp_path):
  outcomes = make_outcomes(0.5, range(3))
  (part,) = list_runs(str(_packed(tmp_path / "a", outcomes))).packed
  digests = packed_part.read_digests(part)
  again = make_outcomes(0.5, range(3, 6))
  (other,) = list_runs(str(_packed(tmp_path / "b", again))).packed
  assert [digests[run] for run in range(3)] == list(packed_part.read_digests(other).values())
  assert len(set(digests.values())) == 3


def _packed(experiment, outcomes):
  write_pack(experiment, outcomes)
  return experiment


def test_parts_hold_as_many_runs_as_fit_in_memory():
  assert packed_part.runs_per_part(50_000, 10_000, margins=False) == 1024
  assert packed_part.runs_per_part(50_000, 10_000, margins=True) == 264
  assert packed_part.runs_per_part(1_281_167, 50_000, margins=False) == 205
  assert packed_part.runs_per_part(10**10, 0, margins=True) == 1


def test_margins_are_read_where_they_are_needed(tmp_path):
  outcomes = add_margins(make_outcomes(0.5, range(4)))
  write_pack(tmp_path / "with", outcomes)
  write_pack(tmp_path / "without", make_outcomes(0.5, range(4)))
  listing = list_runs(str(tmp_path / "with"))
  assert _read_all(listing, with_margins=True) == outcomes
  assert {found.margins for found in _read_all(listing)} == {None}
  found = _read_all(list_runs(str(tmp_path / "without")), with_margins=True)
  assert {str(each) for each in found} == {
    "runs-from-000000.parquet records no margins",
    "runs-from-000003.parquet records no margins",
  }


def _damage(directory, what):
  part = Path(directory) / "runs-from-000003.parquet"
  manifest = Path(directory) / "manifest.json"
  if what == "deleted":
    part.unlink()
  elif what == "truncated":
    part.write_bytes(part.read_bytes()[:-1])
  elif what == "changed":
    content = bytearray(part.read_bytes())
    content[100] ^= 1
    part.write_bytes(content)
  elif what == "exchanged":
    part.write_bytes(part.read_bytes()[::-1])
  elif what == "copied":
    shutil.copy(part, part.with_name("copy.parquet"))
  elif what == "strayed":
    part.rename(part.parents[1] / part.name)
  elif what == "piped":
    part.unlink()
    part.symlink_to("nowhere")
  elif what == "no manifest":
    manifest.unlink()
  elif what == "damaged manifest":
    manifest.write_text(manifest.read_text()[:-20])
  elif what == "moved":
    target = part.parents[2].with_name("0.9") / "packed"
    target.mkdir(parents=True)
    part.parent.rename(target / "pack")
  else:
    text = json.loads(manifest.read_text())
    {
      "runs twice": lambda: text["parts"][1].update(runs=[[2, 4]]),
      "runs without end": lambda: text["parts"][1].update(runs=[[3, 10**15]]),
      "way out": lambda: text["parts"][1].update(name="../../../x.parquet"),
      "other records": lambda: text.update(recorded=["weights"]),
      "more": lambda: text.update(more=1),
      "other ratio": lambda: text.update(subset_ratio=0.7),
    }[what]()
    manifest.write_text(json.dumps(text))


RUNS = {f"0.5/packed/pack#{run}" for run in (3, 4, 5)}
PACK = {"0.5/packed/pack"}

DAMAGES = {
  "deleted": (RUNS, "runs-from-000003.parquet is missing: put it back, or import again", 3),
  "truncated": (RUNS, "it was changed or damaged; put back the one that was written", 3),
  "piped": (RUNS, "is a symbolic link to nowhere, where there is nothing", 3),
  "strayed": (RUNS | {"0.5/packed/runs-from-000003.parquet"}, "", 3),
  "copied": ({"0.5/packed/pack/copy.parquet"}, "is no part of its pack, manifest.json says", 6),
  "no manifest": (PACK, "has no manifest.json: an import was stopped", 0),
  "damaged manifest": (PACK, "is no manifest of packed runs (Invalid JSON", 0),
  "moved": ({"0.9/packed/pack"}, "is of subset ratio 0.5, not 0.9: move it back", 0),
  "runs twice": (PACK, "contradicts itself (runs 2 to 4 come after run 2)", 0),
  "runs without end": (PACK, "contradicts itself (a part holds more than 1,048,576 runs)", 0),
  "way out": (PACK, "the names of its parts are not what they were", 0),
  "other records": (PACK, "contradicts itself (it records weights)", 0),
  "more": (PACK, "more: Unexpected keyword argument", 0),
  "other ratio": (PACK, "is of subset ratio 0.7, not 0.5", 0),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_what_is_not_as_the_manifest_says_is_noticed_when_listing(tmp_path, what):
  directory = write_pack(tmp_path, make_outcomes(0.5, range(6)))
  _damage(directory, what)
  paths, reason, left = DAMAGES[what]
  listing = list_runs(str(tmp_path))
  reasons = _reasons(listing)
  assert set(reasons) == {f"{tmp_path}/{path}" for path in paths}
  assert all(reason in each for each in reasons.values())
  assert len(listing.keys) == left


@pytest.mark.parametrize("what", ["changed", "exchanged"])
def test_a_part_of_the_right_size_and_another_content_is_noticed_when_reading(tmp_path, what):
  directory = write_pack(tmp_path, make_outcomes(0.5, range(6)))
  _damage(directory, what)
  listing = list_runs(str(tmp_path))
  found = _read_all(listing)
  assert [isinstance(each, UnusableRunError) for each in found] == [False] * 3 + [True] * 3
  assert {str(each) for each in found[3:]} == {
    "runs-from-000003.parquet is not the file that manifest.json names: it was changed or damaged; "
    "put back the one that was written, or import again"
  }


def test_of_a_run_that_is_there_twice_one_is_taken(tmp_path):
  outcomes = make_outcomes(0.5, range(4))
  write_experiment(tmp_path, outcomes[:1])
  (tmp_path / "0.5" / "1" / "checkpoints").mkdir(parents=True)
  (tmp_path / "0.5" / "1" / "checkpoints" / "ckpt-1.index").touch()
  first = write_pack(tmp_path, outcomes[:3], "a")
  second = write_pack(tmp_path, outcomes[2:], "b")
  listing = list_runs(str(tmp_path))
  assert _reasons(listing) == {
    f"{first}#0": f"is the same run as {tmp_path}/0.5/0",
    f"{tmp_path}/0.5/1": f"is the same run as {first}#1",
    f"{second}#2": f"is the same run as {first}#2",
  }
  assert sorted(listing.keys) == [RunKey(0.5, run) for run in range(4)]


def test_an_experiment_of_broken_packs_alone_says_so(tmp_path):
  directory = write_pack(tmp_path, make_outcomes(0.5, range(2)))
  (Path(directory) / packs.MANIFEST).unlink()
  with pytest.raises(
    UsageError, match=r"what looks like runs is none; the first: .*/packed/pack has"
  ):
    require_runs(str(tmp_path))


def test_rows_of_another_size_are_refused(tmp_path, monkeypatch):
  outcomes = make_outcomes(0.5, range(2))
  broken = [outcomes[0], type(outcomes[1])(**{**vars(outcomes[1]), "in_subset": b"\xff" * 5})]
  write_pack(tmp_path, broken)
  first, second = _read_all(list_runs(str(tmp_path)))
  assert first == outcomes[0]
  assert str(second) == "runs-from-000000.parquet: in_subset of run 1 has another size"


def test_a_part_of_texts_that_repeat_without_end_is_never_unpacked(tmp_path):
  """Each of 20,000 subsets is a megabyte, of which there is one."""
  directory = Path(write_pack(tmp_path, make_outcomes(0.5, range(2)), runs_per_part=2))
  part = directory / "runs-from-000000.parquet"
  schema = pq.read_schema(part)
  part.write_bytes(parquet_bombs.repeated(schema, 20_000))
  text = json.loads((directory / packs.MANIFEST).read_text())
  digest = hashlib.sha256(part.read_bytes()).hexdigest()
  text["parts"][0].update(runs=[[0, 19_999]], bytes=part.stat().st_size, sha256=digest)
  (directory / packs.MANIFEST).write_text(json.dumps(text))
  reasons = {str(each) for each in _read_all(list_runs(str(tmp_path)))}
  assert len(reasons) == 1
  assert "runs-from-000000.parquet is damaged (unpacks to more than" in reasons.pop()
