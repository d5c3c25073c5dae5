import dataclasses

import pytest

from beam_pipelines.storage.scores.conservation import PublicationError, check_conservation
from beam_pipelines.storage.scores.manifest import StoredPart
from tests.helpers.scores import make_manifest, make_ratio, make_request

TRAIN, TEST = 10, 4


def _whole(**options):
  """The manifest of 3 runs at two ratios, 1 skipped input, and blocks of 5 examples."""
  rows = [
    ("runs", ["all"], 3),
    ("skipped", ["all"], 1),
    ("outcomes", ["a", "b"], None),
    ("examples", ["a", "b", "c", "d"], 5),
    ("cscores", ["a", "b"], 5),
    ("influence", ["a", "b", "c", "d"], 7),
    ("train_influence", ["a", "b"], TRAIN),
    ("test_influence", ["a", "b"], TEST),
    ("index", ["train", "test"], (TRAIN + TEST) // 2),
    ("correctness", ["a", "b", "c"], TRAIN + TEST),
    ("influence.zarr", ["zarr.json", "a/zarr.json", "b/zarr.json"], 0),
    ("influence.zarr", ["a/0", "a/1", "b/0", "b/1"], 5),
  ]
  parts = [
    StoredPart(table, name, 1 + (name == "b") if count is None else count, 100, "sha")
    for table, names, count in rows
    for name in names
  ]
  request = make_request(**{"dense": True, "correctness": True, **options}, dataset="digits")
  ratios = [make_ratio(0.3, 2), make_ratio(0.7, 1)]
  return make_manifest(parts, request, ratios, examples=(TRAIN, TEST))


def _with_parts(manifest, parts):
  changed = make_manifest(parts, manifest, manifest.ratios, (TRAIN, TEST))
  return dataclasses.replace(changed, runs_listed=manifest.runs_listed)


def test_counts_that_agree_pass():
  check_conservation(_whole())


@pytest.mark.parametrize("part", _whole().parts, ids=lambda part: part.path)
def test_no_part_can_be_lost(part):
  manifest = _whole()
  lost = _with_parts(manifest, [kept for kept in manifest.parts if kept != part])
  with pytest.raises(
    PublicationError, match="the job lost or repeated some of its work: "
  ) as error:
    check_conservation(lost)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize("part", _whole().parts, ids=lambda part: part.path)
def test_no_part_can_be_there_twice(part):
  manifest = _whole()
  with pytest.raises(PublicationError, match="lost or repeated some of its work"):
    check_conservation(
      _with_parts(manifest, [*manifest.parts, dataclasses.replace(part, name="other")])
    )
  with pytest.raises(PublicationError, match=rf"{part.path} was staged twice with other content"):
    check_conservation(
      _with_parts(manifest, [*manifest.parts, dataclasses.replace(part, sha256="other")])
    )


def test_inputs_that_are_neither_used_nor_skipped_are_missed():
  with pytest.raises(PublicationError, match="4 inputs used or skipped, not 5"):
    check_conservation(dataclasses.replace(_whole(), runs_listed=5))


def test_a_runner_that_loses_everything_publishes_nothing():
  """Such as one of Beam's that says that all went well."""
  lost = make_manifest([StoredPart("runs", "all.parquet", 0, 1, "sha")], runs_listed=8)
  with pytest.raises(PublicationError, match="0 inputs used or skipped, not 8"):
    check_conservation(lost)


def test_scores_without_a_data_set_have_no_index():
  whole = _whole()
  without = dataclasses.replace(whole, dataset=None)
  with pytest.raises(PublicationError, match="14 rows of index, not 0"):
    check_conservation(without)
  check_conservation(_with_parts(without, [p for p in whole.parts if p.table != "index"]))


def test_pairs_limited_per_example_come_in_a_part_per_ratio():
  whole = _whole(top_k=1)
  with pytest.raises(PublicationError, match="4 parts of influence, not 2"):
    check_conservation(whole)
  first = [part for part in whole.parts if part.table != "influence" or part.name < "c"]
  check_conservation(_with_parts(whole, first))
