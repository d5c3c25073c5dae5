"""Packed runs to read."""

import dataclasses

from beam_pipelines.storage.runs import packed_part, packs


def write_pack(experiment, outcomes, name="pack", runs_per_part=3, margin=None):
  """Writes outcomes of one subset ratio as a pack; returns its directory."""
  directory = packs.directory_of(str(experiment), outcomes[0].key.subset_ratio, name)
  parts = [
    packed_part.write(directory, outcomes[start : start + runs_per_part])
    for start in range(0, len(outcomes), runs_per_part)
  ]
  first = outcomes[0]
  recorded = ["train_correct"] * first.train_recorded + ["test_correct"] * bool(first.num_test)
  recorded += ["train_margin", "test_margin"] * (first.margins is not None)
  pack = packs.Pack(
    subset_ratio=first.key.subset_ratio,
    num_train=first.num_train,
    num_test=first.num_test,
    recorded=tuple(recorded),
    missing={},
    origin={},
    rows={},
    created="2026-11-25T00:00:00+00:00",
    parts=tuple(parts),
    margin=margin,
  )
  packs.write_manifest(directory, pack)
  return directory


def without_test(outcomes):
  """Returns outcomes of runs that were never tested."""
  return [dataclasses.replace(each, num_test=0, test_correct=b"") for each in outcomes]


def without_train(outcomes):
  """Returns outcomes of which nothing is known of the training examples but the subset."""
  return [dataclasses.replace(each, train_correct=b"") for each in outcomes]
