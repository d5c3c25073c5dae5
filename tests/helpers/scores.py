"""Score tables to read, published without a job."""

import dataclasses
from pathlib import Path

import pyarrow.parquet as pq

from beam_pipelines.storage.scores.manifest import (
  Examples,
  Manifest,
  Options,
  RatioSummary,
  Reliability,
  Request,
  SplitHalf,
  count_rows,
  read_manifest,
  write_manifest,
)
from beam_pipelines.storage.scores.publication import publish
from beam_pipelines.storage.scores.staging import Staging, describe_part


def make_request(experiment="e", job="job", dataset=None, **options):
  """Returns what a command with a few options asks for."""
  asked = {
    "pairs": "all",
    "min_influence": 0.15,
    "min_memorization": 0.25,
    "top_k": None,
    "precision": "float32",
    "xla": False,
    "batch_size": None,
    "checkpoint": None,
    "gpu": None,
    "dense": False,
    "correctness": False,
    "strict": False,
    "bigquery": None,
    "bigquery_write": "replace",
  }
  return Request(
    experiment=experiment,
    job=job,
    created="2026-11-25T10:00:00+00:00",
    source="recorded",
    dataset=dataset,
    model=None,
    options=Options(**{**asked, **options}),
    versions={"python": "3.11"},
  )


def make_ratio(subset_ratio, runs=2):
  """Returns what a manifest says of a subset ratio."""
  half = SplitHalf(runs, None, None)
  return RatioSummary(subset_ratio, runs, Reliability(half, None, ()), 0.0, None)


def make_manifest(parts=(), request=None, ratios=(), examples=(0, 0), **changes):
  """Returns the manifest of parts, which need not be all that a job writes."""
  request = request or make_request()
  rows = count_rows(tuple(parts))
  fields = {
    "examples": Examples(*examples),
    "runs_listed": rows.get("runs", 0) + rows.get("skipped", 0),
    "runs_used": rows.get("runs", 0),
    "runs_skipped": rows.get("skipped", 0),
    "ratios": tuple(ratios),
    "warnings": (),
    "rows": rows,
    "parts": tuple(sorted(parts)),
  }
  asked = {field.name: getattr(request, field.name) for field in dataclasses.fields(Request)}
  return Manifest(**asked, **{**fields, **changes})


def stage_tables(path, job="job", **tables):
  """Stages tables, each a list of the rows of its parts, or one; returns staging and parts."""
  staging = Staging.begin(str(path), job)
  parts = [
    staging.stage(name, f"{number}", rows)
    for name, all_rows in tables.items()
    for number, rows in enumerate(all_rows if isinstance(all_rows, list) else [all_rows])
  ]
  return staging, parts


def publish_tables(path, experiment="e", job="job", ratios=(), examples=(0, 0), **tables):
  """Publishes such tables, and returns the scores directory."""
  staging, parts = stage_tables(path, job, **tables)
  publish(staging, make_manifest(parts, make_request(experiment, job), ratios, examples))
  return str(path)


def vouch_for(scores):
  """Makes the manifest name the files that are there, whatever became of them."""
  manifest, root = read_manifest(str(scores)), Path(scores)
  parts = [
    describe_part(part.table, part.name, _count_rows(root / part.path, part.rows), content)
    for part in manifest.parts
    if (root / part.path).exists() and (content := (root / part.path).read_bytes())
  ]
  write_manifest(str(scores), dataclasses.replace(manifest, parts=tuple(parts)))


def _count_rows(path, were):
  return pq.read_metadata(path).num_rows if path.suffix == ".parquet" else were
