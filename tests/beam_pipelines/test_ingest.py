import gzip
import json
import os
import pty
import re
import signal
import subprocess
import sys
import tarfile
import termios
import time
from pathlib import Path

import pytest

import files
from beam_pipelines import cli, ingest
from beam_pipelines.storage.runs.experiment import list_runs
from beam_pipelines.storage.runs.run_place import RunKey
from files import retry
from tests.helpers.archives import make_archive, md5, member, plain_files, run_members
from tests.helpers.gcs import BUCKET, emulated_gcs
from tests.helpers.proxy import Fault

KEYS = [RunKey(ratio, run) for ratio in (0.1, 0.7) for run in range(4)]
MEMBERS = [entry for key in KEYS for entry in run_members(key, aux_first=key.run % 2 == 0)]


@pytest.fixture
def archive(tmp_path):
  path = tmp_path / "runs.tar.gz"
  path.write_bytes(make_archive(MEMBERS))
  return path


def _ingest(archive, experiment, *flags):
  sum_ = md5(Path(archive).read_bytes()) if Path(archive).exists() else "0" * 32
  defaults = [] if any(flag.startswith("--md5") for flag in flags) else [f"--md5={sum_}"]
  return cli.main(
    ["ingest", f"--archive={archive}", f"--experiment={experiment}", *defaults, *flags]
  )


def _error(capsys):
  captured = capsys.readouterr()
  assert captured.err.count("\n") == 1
  assert captured.err.startswith("heldout ingest: error: ")
  return captured.err.removeprefix("heldout ingest: error: ").rstrip()


def _contents(experiment):
  found = {info.name for info in files.list_files(str(experiment), unfinished=True)}
  return {name: files.read_bytes(f"{experiment}/{name}") for name in found - {ingest.INGESTION}}


def _complete(experiment):
  return [run.key for run in list_runs(str(experiment)).runs if run.complete]


def _note(experiment):
  return json.loads((experiment / ingest.INGESTION).read_text())


def test_writes_what_tar_unpacks(archive, tmp_path, capsys):
  assert _ingest(archive, tmp_path / "e") == 0
  (tmp_path / "tar").mkdir()
  subprocess.run(["tar", "-xzf", archive, "-C", tmp_path / "tar"], check=True)
  assert _contents(tmp_path / "e") == _contents(tmp_path / "tar" / "experiment")
  assert _contents(tmp_path / "e") == plain_files(MEMBERS)
  out = capsys.readouterr().out.splitlines()
  assert out[1:] == [
    f"8 runs written to {tmp_path}/e, 0 were there; the MD5 sum is right; 0 requests were repeated"
  ]
  assert _note(tmp_path / "e") == {
    "archive": str(archive),
    "md5": md5(archive.read_bytes()),
    "state": "verified",
    "runs": 8,
  }


def test_a_second_call_has_nothing_to_do(archive, tmp_path, capsys, monkeypatch):
  assert _ingest(archive, tmp_path / "e") == 0
  monkeypatch.setattr(files, "write_bytes", None)
  assert _ingest(archive, tmp_path / "e") == 0
  out = capsys.readouterr().out.splitlines()
  assert out[-1] == f"all 8 runs of {archive} are in {tmp_path}/e already"


def test_runs_that_were_deleted_are_written_again(archive, tmp_path, capsys):
  assert _ingest(archive, tmp_path / "e") == 0
  files.delete_directory(f"{tmp_path}/e/0.7/2")
  assert _ingest(archive, tmp_path / "e") == 0
  assert "1 runs written to" in capsys.readouterr().out
  assert _contents(tmp_path / "e") == plain_files(MEMBERS)


def test_a_truncated_archive_keeps_the_finished_runs_and_goes_on_later(
  archive, tmp_path, capsys, monkeypatch
):
  whole = archive.read_bytes()
  sum_ = f"--md5={md5(whole)}"
  archive.write_bytes(whole[: len(whole) * 2 // 3])
  assert _ingest(archive, tmp_path / "e", sum_) == 2
  finished = _complete(tmp_path / "e")
  assert 0 < len(finished) < 8
  assert _error(capsys) == (
    f"{archive}: ends in the middle: it was cut short; {len(finished):,} runs are complete in "
    f"{tmp_path}/e"
  )
  for run in list_runs(f"{tmp_path}/e").runs:
    if run.complete:
      assert len(run.files) == 3
  written = []
  write = files.write_bytes
  monkeypatch.setattr(
    files, "write_bytes", lambda path, content: (written.append(path), write(path, content))
  )
  archive.write_bytes(whole)
  assert _ingest(archive, tmp_path / "e", sum_) == 0
  runs_written = {re.sub(r".*/(0\.\d/\d)/.*", r"\1", path) for path in written} - {
    f"{tmp_path}/e/ingest.json"
  }
  assert runs_written == {f"{key.subset_ratio}/{key.run}" for key in set(KEYS) - set(finished)}
  assert _contents(tmp_path / "e") == plain_files(MEMBERS)
  assert f"{len(finished)} were there" in capsys.readouterr().out


def test_a_wrong_md5_sum_is_an_error_that_stays(archive, tmp_path, capsys):
  wrong = "0" * 32
  assert _ingest(archive, tmp_path / "e", f"--md5={wrong}") == 2
  assert _error(capsys) == (
    f"{archive}: its MD5 sum is {md5(archive.read_bytes())}, not {wrong}: do not trust the 8 runs "
    f"in {tmp_path}/e; delete them, and get the archive or the sum again"
  )
  assert _note(tmp_path / "e")["state"] == "wrong MD5"
  assert _ingest(archive, tmp_path / "e", f"--md5={wrong}") == 2
  assert _error(capsys) == (
    f"--experiment={tmp_path}/e was filled from an archive with a wrong MD5 sum: delete it first"
  )
  files.delete_directory(f"{tmp_path}/e")
  assert _ingest(archive, tmp_path / "e") == 0


@pytest.mark.parametrize(
  ("bad", "reason"),
  [
    (member("../escaped", b"x"), "'../escaped' leads out of the experiment"),
    (member("e/0.7/9/../../../escaped", b"x"), "leads out of the experiment"),
    (member("/tmp/escaped", b"x"), "'/tmp/escaped' leads out of the experiment"),
    (
      member("experiment/0.7/9/x", kind=tarfile.SYMTYPE, linkname="../../../.."),
      "'experiment/0.7/9/x' is a symbolic link",
    ),
    (
      member("experiment/0.7/9/x", kind=tarfile.LNKTYPE, linkname="/etc/passwd"),
      "'experiment/0.7/9/x' is a hard link",
    ),
    (member("experiment/0.7/9/x", kind=tarfile.CHRTYPE), "is a character device"),
    (member("experiment/0.7/9/x", kind=tarfile.BLKTYPE), "is a block device"),
    (member("experiment/0.7/9/x", kind=tarfile.FIFOTYPE), "is a fifo"),
    (member("experiment/0.7/9/..\\x", b"x"), "has characters that no run file's name has"),
    (member("n", b"x", pax_headers={"path": "experiment/0.7/9/\0x"}), "has characters that no"),
    (MEMBERS[-1], "'experiment/0.7/3/aux_arrays.npz' is there twice"),
  ],
  ids=lambda value: value if isinstance(value, str) else "",
)
def test_nothing_is_written_outside_and_the_member_is_named(tmp_path, capsys, bad, reason):
  inside = tmp_path / "deep" / "inside"
  inside.mkdir(parents=True)
  archive = inside / "runs.tar.gz"
  archive.write_bytes(make_archive([*MEMBERS, bad]))
  before = sorted(tmp_path.rglob("*"))
  assert _ingest(archive, inside / "e") == 2
  error = _error(capsys)
  assert error.startswith(f"{archive}: ")
  assert reason in error
  outside = [path for path in sorted(tmp_path.rglob("*")) if inside / "e" not in path.parents]
  assert outside == sorted([*before, inside / "e"])
  assert not Path("/tmp/escaped").exists()
  assert set(_contents(inside / "e")) <= set(plain_files(MEMBERS))
  assert not any(path.is_symlink() for path in inside.rglob("*"))


def test_what_belongs_to_no_run_and_what_is_incomplete_is_said(tmp_path, capsys):
  archive = tmp_path / "runs.tar.gz"
  aux_missing = run_members(RunKey(0.3, 1))[:-1]
  members = [member("experiment/README", b"x"), *MEMBERS, *aux_missing, member("a/b", b"y")]
  archive.write_bytes(make_archive(members))
  assert _ingest(archive, tmp_path / "e") == 0
  assert capsys.readouterr().out.splitlines()[2:] == [
    f"1 runs have no aux_arrays.npz in the archive and are incomplete: {tmp_path}/e/0.3/1, …",
    "files that belong to no run, and were left out: 2, such as 'experiment/README'",
  ]


def test_an_archive_without_runs_is_an_error(tmp_path, capsys):
  archive = tmp_path / "x.tar.gz"
  archive.write_bytes(make_archive([member("a/b", b"c")]))
  assert _ingest(archive, tmp_path / "e") == 2
  assert _error(capsys) == (f"{archive} holds no runs: their files lie in <subset ratio>/<run id>/")


def test_the_experiment_must_be_of_this_archive(archive, tmp_path, capsys):
  other = tmp_path / "other.tar.gz"
  other.write_bytes(make_archive(run_members(RunKey(0.5, 1))))
  assert _ingest(other, tmp_path / "e") == 0
  capsys.readouterr()
  assert _ingest(archive, tmp_path / "e") == 2
  assert _error(capsys) == (
    f"--experiment={tmp_path}/e is for runs of another archive, {other} with MD5 sum "
    f"{md5(other.read_bytes())}: choose another directory, or delete this one if that was a mistake"
  )
  files.write_bytes(f"{tmp_path}/trained/0.5/1/aux_arrays.npz", b"x")
  assert _ingest(archive, tmp_path / "trained") == 2
  assert _error(capsys) == (
    f"--experiment={tmp_path}/trained holds runs that were not ingested: choose another directory"
  )


def test_of_two_that_begin_at_once_with_other_archives_one_fails(
  archive, tmp_path, capsys, monkeypatch
):
  """Both look before either has written down whose runs the directory is for."""
  other = tmp_path / "other.tar.gz"
  other.write_bytes(make_archive(run_members(RunKey(0.5, 1))))
  original = files.delete_unfinished

  def meanwhile(directory):
    monkeypatch.setattr(files, "delete_unfinished", original)
    assert _ingest(other, tmp_path / "e") == 0
    original(directory)

  monkeypatch.setattr(files, "delete_unfinished", meanwhile)
  assert _ingest(archive, tmp_path / "e") == 2
  assert _error(capsys).startswith(f"--experiment={tmp_path}/e is for runs of another archive, ")
  assert _note(tmp_path / "e")["md5"] == md5(other.read_bytes())
  assert _complete(tmp_path / "e") == [RunKey(0.5, 1)]


def test_a_directory_is_taken_before_its_first_run_is_there(archive, tmp_path, capsys):
  (tmp_path / "e").mkdir()
  note = {"archive": "first.tar.gz", "md5": "0" * 32, "state": "unfinished", "runs": 0}
  (tmp_path / "e" / ingest.INGESTION).write_text(json.dumps(note))
  assert _ingest(archive, tmp_path / "e") == 2
  assert "is for runs of another archive, first.tar.gz with MD5 sum 000" in _error(capsys)
  assert _note(tmp_path / "e") == note


@pytest.mark.parametrize(
  ("note", "message"),
  [
    ("[]", " is a list, not what Heldout wrote: restore the file, or choose another directory"),
    ("{}", ' has no "archive": restore the file, or choose another directory'),
    (
      '{"archive": "x", "md5": {}, "state": "verified", "runs": 8}',
      ': "md5" is an object, not a text: restore the file, or choose another directory',
    ),
    (
      '{"archive": "x", "md5": "x", "state": "verified", "runs": [8]}',
      ': "runs" is a list, not a whole number: restore the file, or choose another directory',
    ),
  ],
)
def test_a_damaged_note_is_one_line(archive, tmp_path, capsys, note, message):
  assert _ingest(archive, tmp_path / "e") == 0
  capsys.readouterr()
  (tmp_path / "e" / ingest.INGESTION).write_text(note)
  assert _ingest(archive, tmp_path / "e") == 2
  assert _error(capsys) == f"{tmp_path}/e/ingest.json{message}"


def _packed(*headers):
  return gzip.compress(b"".join(headers) + bytes(1024))


def _header(kind, size):
  info, _ = member("x", kind=kind)
  info.size = size
  return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (
      _packed(_header(tarfile.GNUTYPE_LONGNAME, 1 << 30), bytes(1 << 20)),
      "has an extension header of 1,073,741,824 bytes: the archive is not to be trusted",
    ),
    (
      _packed(_header(tarfile.XHDTYPE, 400_384), b"9" * 400_384),
      "is damaged: a pax header does not hold what it says",
    ),
  ],
  ids=["long name", "pax number"],
)
def test_bombs_are_refused_in_one_line(tmp_path, capsys, content, message):
  (tmp_path / "x").write_bytes(content)
  assert _ingest(tmp_path / "x", tmp_path / "e") == 2
  assert _error(capsys) == f"{tmp_path}/x: {message}; 0 runs are complete in {tmp_path}/e"


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    ([], "give --archive and --md5, or --released; see `heldout ingest --help`"),
    (["--archive=x"], "give --archive and --md5, or --released; see `heldout ingest --help`"),
    (
      ["--released=cifar10-inception", f"--md5={'0' * 32}"],
      "--released and --md5: the MD5 sums of released archives are known",
    ),
    (
      ["--archive=x", "--md5=123"],
      "argument --md5: '123' is no MD5 sum: write 32 hexadecimal digits; see "
      "`heldout ingest --help`",
    ),
    (
      ["--archive=/no/such.tar.gz", f"--md5={'0' * 32}"],
      "/no/such.tar.gz: there is no such file or bucket",
    ),
  ],
)
def test_flags_that_do_not_say_what_to_do(tmp_path, capsys, flags, message):
  assert cli.main(["ingest", f"--experiment={tmp_path}/e", *flags]) == 2
  assert _error(capsys) == message
  assert not (tmp_path / "e").exists()


def test_what_is_no_archive_is_an_error(tmp_path, capsys):
  (tmp_path / "x").write_bytes(b"no archive")
  assert _ingest(tmp_path / "x", tmp_path / "e") == 2
  assert _error(capsys).startswith(f"{tmp_path}/x: is damaged, or not packed by gzip: ")


def test_released_archives_are_known_by_name(archive, tmp_path, capsys, monkeypatch):
  """Their MD5 sums are those of the published list; a copy may lie elsewhere."""
  monkeypatch.setitem(ingest.RELEASED, "cifar10-inception", md5(archive.read_bytes()))
  flags = ["--released=cifar10-inception", f"--archive={archive}"]
  assert cli.main(["ingest", f"--experiment={tmp_path}/e", *flags]) == 0
  assert _complete(tmp_path / "e") == KEYS


def test_a_kill_leaves_no_run_that_only_looks_complete(tmp_path):
  keys = [RunKey(0.7, run) for run in range(300)]
  members = [entry for key in keys for entry in run_members(key, aux_first=True)]
  archive = tmp_path / "runs.tar.gz"
  archive.write_bytes(make_archive(members))
  sum_ = f"--md5={md5(archive.read_bytes())}"
  command = [sys.executable, "-m", "beam_pipelines.ingest", f"--archive={archive}", sum_]
  process = subprocess.Popen([*command, f"--experiment={tmp_path}/e"], stdout=subprocess.DEVNULL)
  while process.poll() is None and not (tmp_path / "e/0.7/20").exists():
    time.sleep(0.001)
  process.send_signal(signal.SIGKILL)
  process.wait()
  runs = list_runs(f"{tmp_path}/e").runs
  assert 0 < sum(run.complete for run in runs) < 300
  assert all(len(run.files) == 3 for run in runs if run.complete)
  assert _ingest(archive, tmp_path / "e") == 0
  assert _contents(tmp_path / "e") == plain_files(members)


def test_progress_is_shown_on_a_terminal_only(archive, tmp_path):
  """A pseudo-terminal shows bytes, the rate and the time left; a pipe shows nothing."""
  command = [
    *(sys.executable, "-m", "beam_pipelines.ingest", f"--archive={archive}"),
    *(f"--md5={md5(archive.read_bytes())}", f"--experiment={tmp_path}/e"),
  ]
  terminal, theirs = pty.openpty()
  termios.tcsetwinsize(theirs, (24, 100))
  process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs)
  os.close(theirs)
  shown = b""
  try:
    while chunk := os.read(terminal, 4096):
      shown += chunk
  except OSError:  # how Linux says that the other end is closed
    pass
  os.close(terminal)
  assert process.wait() == 0
  assert re.search(rb"\d+/\d+ \[\d+:\d+<.+B/s", shown)
  files.delete_directory(f"{tmp_path}/e")
  quiet = subprocess.run(command, capture_output=True, text=True, check=True)
  assert quiet.stderr == ""


@pytest.fixture(scope="module")
def proxy():
  with pytest.MonkeyPatch.context() as patch, emulated_gcs(patch) as proxy:
    patch.setattr(retry, "FIRST_WAIT", 0.01)
    yield proxy


@pytest.fixture
def remote(archive, proxy, request):
  """An archive and an experiment on gs://."""
  proxy.plan()
  directory = f"gs://{BUCKET}/{request.node.name}"
  files.write_bytes(f"{directory}/runs.tar.gz", archive.read_bytes())
  return f"{directory}/runs.tar.gz", f"{directory}/e", f"--md5={md5(archive.read_bytes())}"


def test_from_gs_to_gs_with_faults(remote, proxy, capsys):
  archive, experiment, sum_ = remote
  proxy.plan(
    Fault("cut", "GET /download"),
    Fault("status", "GET", times=2),
    *(Fault(kind, "POST /upload", times=3) for kind in ("status", "reset", "lose")),
  )
  assert _ingest(archive, experiment, sum_) == 0
  assert "8 runs written" in (out := capsys.readouterr().out)
  assert int(re.search(r"([\d,]+) requests were repeated", out)[1].replace(",", "")) >= 10
  proxy.plan()
  assert _contents(experiment) == plain_files(MEMBERS)


def test_finished_runs_are_not_uploaded_again(remote, proxy, archive):
  path, experiment, sum_ = remote
  whole = archive.read_bytes()
  files.write_bytes(path, whole[: len(whole) // 2])
  assert _ingest(path, experiment, sum_) == 2
  finished = _complete(experiment)
  assert finished
  files.write_bytes(path, whole)
  proxy.plan()
  assert _ingest(path, experiment, sum_) == 0
  uploads = proxy.requests("POST /upload")
  for key in KEYS:
    of_run = [upload for upload in uploads if f"%2Fe%2F{key.subset_ratio}%2F{key.run}%2F" in upload]
    assert len(of_run) == (0 if key in finished else 3)
  assert _contents(experiment) == plain_files(MEMBERS)


def test_uploads_go_on_at_the_same_time(remote, proxy):
  archive, experiment, sum_ = remote
  proxy.plan(Fault("stall", "POST /upload", times=100, seconds=0.1))
  assert _ingest(archive, experiment, sum_) == 0
  assert proxy.most_at_once >= 4


def test_a_bucket_that_is_not_there_is_one_line(remote, capsys):
  archive, _, sum_ = remote
  assert _ingest(archive, "gs://nobucket/e", sum_) == 2
  assert _error(capsys) == "gs://nobucket/e: there is no such file or bucket"


def test_an_archive_that_may_not_be_read_is_one_line(remote, proxy, capsys):
  archive, experiment, sum_ = remote
  proxy.plan(Fault("status", "GET /download", status=403))
  assert _ingest(archive, experiment, sum_) == 2
  error = _error(capsys)
  assert error.startswith(f"{archive}: HTTP status 403")
  assert error.endswith("; the same command goes on from where it was")
  proxy.plan()
  assert _ingest(archive, experiment, sum_) == 0
