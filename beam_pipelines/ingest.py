"""`heldout ingest`: streams an archive of runs into run directories."""

from __future__ import annotations

import argparse
import functools
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any, NamedTuple, Protocol

from tqdm import tqdm

import files
from beam_pipelines.launch import arguments, command
from beam_pipelines.launch.groups import READS, WRITES
from beam_pipelines.launch.parser import Parser
from beam_pipelines.launch.progress import columns
from beam_pipelines.storage.runs.archive import RunArchive
from beam_pipelines.storage.runs.experiment import Listing, RunDirectory, list_runs
from beam_pipelines.storage.runs.notes import read_note
from beam_pipelines.storage.runs.run_place import AUX_ARRAYS
from beam_pipelines.storage.runs.run_writer import RunWriter
from beam_pipelines.storage.runs.tar_stream import ArchiveError
from files.errors import UsageError
from files.read_ahead import read_ahead

INGESTION = "ingest.json"
_NOTE = {"archive": str, "md5": str, "state": str, "runs": int}

# https://github.com/google-research/heldout-influence-estimation
RELEASED = {
  "cifar10-inception": "bc3b75203381709f8224810946be14b1",
  "cifar100-inception": "f87218368528afa6e2407c8410f1ffa1",
  "imagenet-resnet50": "64c39ef7702462b83959af9de622b4b8",
}
_RELEASED_PATH = "gs://gresearch/heldout-training-checkpoints/{}.tar.gz"

_UNFINISHED, _VERIFIED, _WRONG_MD5 = "unfinished", "verified", "wrong MD5"
_CHUNK_BYTES = 1 << 23
_CHUNKS_AHEAD = 4


class _Archive(NamedTuple):
  path: str
  md5: str
  size: int


class _Digest(Protocol):
  def update(self, data: bytes, /) -> None: ...
  def hexdigest(self) -> str: ...


# A gzip stream can be read from its beginning only: there is nothing for Beam to spread over
# workers, so this is one process, in which reading, hashing, unpacking and writing overlap.
def run(argv: Sequence[str]) -> int:
  """Writes the runs of an archive that are not there yet; returns the exit status."""
  args, _ = make_parser().parse(argv)
  try:
    return _ingest(_find_archive(args), args.experiment)
  except FileNotFoundError:
    raise
  except OSError as error:
    what = command.describe_file_error(error)
    raise UsageError(f"{what}; the same command goes on from where it was") from error


def make_parser() -> Parser:
  """Returns the parser of the command's flags."""
  parser = Parser(
    "ingest",
    "Streams a .tar.gz of runs into run directories; the archive itself is not stored.\n"
    "Runs that are complete are kept, so that calling it again finishes what was interrupted.",
    "Example, one of the released experiments:\n"
    "  heldout ingest --released=cifar10-inception \\\n"
    "      --experiment=gs://bucket/cifar10-inception",
  )
  add = functools.partial(parser.add, READS)
  add(
    "--released",
    choices=RELEASED,
    metavar="NAME",
    help=f"a released archive, known by path and MD5 sum: {', '.join(RELEASED)}",
  )
  add(
    "--archive",
    type=arguments.path,
    metavar="FILE",
    help="a .tar.gz of runs, or a copy of the released one",
  )
  add("--md5", type=_md5, metavar="HEX", help="MD5 sum of --archive, in hexadecimal")
  parser.add(
    WRITES,
    "--experiment",
    type=arguments.path,
    required=True,
    metavar="DIR",
    help="directory of run directories",
  )
  return parser


def _md5(text: str) -> str:
  if not re.fullmatch(r"[0-9a-fA-F]{32}", text):
    raise argparse.ArgumentTypeError(f"{text!r} is no MD5 sum: write 32 hexadecimal digits")
  return text.lower()


def _find_archive(args: argparse.Namespace) -> _Archive:
  if args.released and args.md5:
    raise UsageError("--released and --md5: the MD5 sums of released archives are known")
  if not args.released and not (args.archive and args.md5):
    raise UsageError("give --archive and --md5, or --released; see `heldout ingest --help`")
  path = args.archive or _RELEASED_PATH.format(args.released)
  return _Archive(path, args.md5 or RELEASED[args.released], files.size(path))


def _ingest(archive: _Archive, experiment: str) -> int:
  repeated = files.retry_count()
  listing = list_runs(experiment)
  there = listing.runs
  complete = sum(run.complete for run in there)
  note = _check_note(archive, experiment, listing)
  if note.get("state") == _VERIFIED and note["runs"] == complete:
    print(f"all {complete:,} runs of {archive.path} are in {experiment} already")
    return 0
  print(
    f"{archive.path}: {archive.size / 1e9:,.3f} GB, into {experiment}, "
    f"where {complete:,} runs are complete"
  )
  files.delete_unfinished(experiment)
  if not _claim_note(archive, experiment, complete):
    _check_note(archive, experiment, listing)  # another command may have been quicker
    _write_note(archive, experiment, _UNFINISHED, complete)
  digest = hashlib.md5(usedforsecurity=False)
  try:
    writer, run_archive = _write_runs(archive, experiment, there, digest)
  except ArchiveError as error:
    complete = sum(run.complete for run in list_runs(experiment).runs)
    raise UsageError(
      f"{archive.path}: {error}; {complete:,} runs are complete in {experiment}"
    ) from error
  _check_result(archive, experiment, writer, digest.hexdigest())
  repeated = files.retry_count() - repeated
  print("\n".join(_summary(archive, experiment, writer, run_archive, repeated)))
  return 0


def _write_runs(
  archive: _Archive, experiment: str, there: Iterable[RunDirectory], digest: _Digest
) -> tuple[RunWriter, RunArchive]:
  with (
    tqdm(
      total=archive.size, unit="B", unit_scale=True, disable=None, leave=False, ncols=columns()
    ) as bar,
    closing(read_ahead(_hashed_chunks(archive.path, digest, bar), _CHUNKS_AHEAD)) as chunks,
    RunWriter(experiment, there) as writer,
  ):
    run_archive = RunArchive(chunks)
    for file in run_archive:
      writer.write(file)
      bar.set_postfix_str(f"{len(writer.written) + len(writer.kept):,} runs", refresh=False)
  return writer, run_archive


def _hashed_chunks(path: str, digest: _Digest, bar: tqdm) -> Iterator[bytes]:
  for chunk in files.read_chunks(path, _CHUNK_BYTES):
    digest.update(chunk)
    bar.update(len(chunk))
    yield chunk


def _check_note(archive: _Archive, experiment: str, listing: Listing) -> dict[str, Any]:
  """Returns what an earlier call has noted about the runs, if any are there or were to be."""
  path = files.join(experiment, INGESTION)
  if not files.exists(path):
    if not listing.keys:
      return {}
    raise UsageError(
      f"--experiment={experiment} holds runs that were not ingested: choose another directory"
    )
  note = read_note(path, _NOTE)
  if note["md5"] != archive.md5:
    raise UsageError(
      f"--experiment={experiment} is for runs of another archive, {note['archive']} with MD5 sum "
      f"{note['md5']}: choose another directory, or delete this one if that was a mistake"
    )
  if note["state"] == _WRONG_MD5:
    raise UsageError(
      f"--experiment={experiment} was filled from an archive with a wrong MD5 sum: delete it first"
    )
  return note


def _claim_note(archive: _Archive, experiment: str, runs: int) -> bool:
  """Notes whose runs the directory is for, unless there is a note; returns whether it did."""
  return files.claim_json(*_note(archive, experiment, _UNFINISHED, runs))


def _write_note(archive: _Archive, experiment: str, state: str, runs: int) -> None:
  files.write_json(*_note(archive, experiment, state, runs))


def _note(
  archive: _Archive, experiment: str, state: str, runs: int
) -> tuple[str, dict[str, object]]:
  note = {"archive": archive.path, "md5": archive.md5, "state": state, "runs": runs}
  return files.join(experiment, INGESTION), note


def _check_result(archive: _Archive, experiment: str, writer: RunWriter, md5: str) -> None:
  runs = len(writer.written) + len(writer.kept)
  if md5 != archive.md5:
    _write_note(archive, experiment, _WRONG_MD5, runs)
    raise UsageError(
      f"{archive.path}: its MD5 sum is {md5}, not {archive.md5}: do not trust the {runs:,} runs in "
      f"{experiment}; delete them, and get the archive or the sum again"
    )
  if not runs and not writer.incomplete:
    raise UsageError(f"{archive.path} holds no runs: their files lie in <subset ratio>/<run id>/")
  _write_note(archive, experiment, _VERIFIED, runs)


def _summary(
  archive: _Archive, experiment: str, writer: RunWriter, run_archive: RunArchive, repeated: int
) -> Iterator[str]:
  yield (
    f"{len(writer.written):,} runs written to {experiment}, {len(writer.kept):,} were there; "
    f"the MD5 sum is right; {repeated:,} requests were repeated"
  )
  if writer.incomplete:
    first = min(writer.incomplete)
    yield (
      f"{len(writer.incomplete):,} runs have no {AUX_ARRAYS} in the archive and are incomplete: "
      f"{first.directory(experiment)}, …"
    )
  if run_archive.left_out:
    yield (
      f"files that belong to no run, and were left out: {run_archive.left_out:,}, such as "
      f"{run_archive.first_left_out!r}"
    )


if __name__ == "__main__":
  command.execute_module("ingest", run)
