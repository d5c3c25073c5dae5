import dataclasses
import json

import numpy as np
import pytest

from beam_pipelines.storage.layouts.sources import Source
from beam_pipelines.storage.runs.experiment import list_runs
from beam_pipelines.transforms import import_outcomes
from beam_pipelines.transforms.import_outcomes import ImportOutcomes, ImportTask, RowCounts
from tests.helpers.eager import run_eagerly
from tests.helpers.layouts import read_experiment, stack
from tests.helpers.outcomes import make_outcomes
from tests.helpers.packs import write_pack

RUNS = 10


@pytest.fixture
def outcomes():
  return make_outcomes(0.5, range(RUNS))


@pytest.fixture
def task(tmp_path, outcomes):
  paths = {name: str(tmp_path / f"{name}.npy") for name in ("masks", "correct", "test_correct")}
  for path, values in zip(paths.values(), stack(outcomes), strict=True):
    np.save(path, values)
  return ImportTask(
    source=Source("arrays", paths=paths, subset_ratio=0.5),
    experiment=str(tmp_path / "runs"),
    subset_ratio=0.5,
    rows=(0, RUNS),
    first_run=0,
    pack="pack",
    there=(),
  )


def _result(task):
  with open(f"{task.directory}/result.json") as file:
    return json.load(file)


def test_ranges_become_parts_of_one_pack(task, outcomes):
  (counts,) = run_eagerly(ImportOutcomes(task), [(0, 4), (4, 8), (8, 10)])
  assert (counts.imported, counts.total) == (RUNS, RUNS)
  listing = list_runs(task.experiment)
  assert [part.runs for part in listing.packed] == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9)]
  assert read_experiment(task.experiment) == outcomes


def test_work_that_is_done_twice_counts_once(task, outcomes):
  run_eagerly(ImportOutcomes(task), [(0, 5), (5, 10), (0, 5)])
  run_eagerly(ImportOutcomes(task), [(0, 5), (5, 10)])
  assert _result(task)["refusal"] is None
  assert read_experiment(task.experiment) == outcomes


def test_nothing_is_imported_where_a_runner_has_lost_rows(task):
  run_eagerly(ImportOutcomes(task), [(0, 5), (5, 9)])
  assert _result(task)["refusal"] == (
    "the job lost or repeated some of its work: 9 rows, not 10: nothing is imported; run it again, "
    "or on another runner"
  )
  assert list_runs(task.experiment).keys == []


def test_nothing_is_imported_where_a_part_was_lost(task, monkeypatch):
  write = import_outcomes.packed_part.write

  def lose(directory, outcomes):
    part = write(directory, outcomes)
    return dataclasses.replace(part, bytes=part.bytes + 1)

  monkeypatch.setattr(import_outcomes.packed_part, "write", lose)
  run_eagerly(ImportOutcomes(task), [(0, 10)])
  assert _result(task)["refusal"] == (
    f"{task.directory}/runs-from-000000.parquet is not whole: nothing is imported; run it again"
  )
  assert list_runs(task.experiment).keys == []


def test_outcomes_that_are_there_are_left_out_whatever_their_ids(task, outcomes):
  write_pack(task.experiment, [*outcomes[6:8]], "before")
  there = list_runs(task.experiment).packed
  appending = dataclasses.replace(task, there=there, first_run=100)
  (counts,) = run_eagerly(ImportOutcomes(appending), [(0, 10)])
  assert counts == RowCounts(*counts)._replace(imported=8, there=2, left_out=0)
  assert [key.run for key in list_runs(task.experiment).keys] == [
    *(6, 7),
    *(100 + row for row in range(RUNS) if row not in (6, 7)),
  ]


def test_a_pack_that_is_damaged_cannot_say_what_is_there(task, outcomes):
  directory = write_pack(task.experiment, outcomes[:2], "before")
  (there,) = list_runs(task.experiment).packed
  with open(there.path, "r+b") as file:
    file.write(b"PAR2")
  with pytest.raises(
    Exception, match=f"{directory}: runs-from-000000.parquet is not the file that"
  ):
    run_eagerly(ImportOutcomes(dataclasses.replace(task, there=(there,))), [(0, 10)])
