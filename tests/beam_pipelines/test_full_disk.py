"""A disk that is full in the midst of a job: one line, and the same command completes later."""

import subprocess
import sys
import textwrap

import pytest

from beam_pipelines.storage.scores.manifest import read_manifest
from tests.helpers.outcomes import make_outcomes, write_experiment

# A disk of two megabytes that goes away with the process; where root is not at hand, a user
# namespace lends it.
_NAMESPACE = ["unshare", "--mount", "--map-root-user"]
_SCRIPT = """
  set -e
  mount -t tmpfs -o size=2m tmpfs "$2"
  score() {
    "$1" -m beam_pipelines.cli score --experiment="$3" --scores="$2/s" --pairs=all || true
  }
  score "$@"
  cp -r "$2/s" "$4/first"
  for kilobytes in 4 24 44; do
    rm -f "$2/fill"
    free=$(df --output=avail "$2" | tail -1)
    head -c $(((free - kilobytes) * 1024)) /dev/zero > "$2/fill"
    score "$@"
    cp -r "$2/s" "$4/at-$kilobytes"
  done
  rm "$2/fill"
  score "$@"
  cp -r "$2/s" "$4/last"
"""


@pytest.mark.skipif(
  subprocess.run([*_NAMESPACE, "true"], capture_output=True).returncode != 0,
  reason="a small disk is mounted in a user namespace, which this machine does not allow",
)
def test_scores_on_a_full_disk(tmp_path):
  write_experiment(tmp_path / "runs", make_outcomes(0.7, range(6)))
  (tmp_path / "disk").mkdir()
  shell = [*_NAMESPACE, "sh", "-c", textwrap.dedent(_SCRIPT), "sh"]
  arguments = [sys.executable, str(tmp_path / "disk"), str(tmp_path / "runs"), str(tmp_path)]
  process = subprocess.run([*shell, *arguments], capture_output=True, text=True)
  assert process.returncode == 0, process
  lines = process.stderr.splitlines()
  assert len(lines) == 3, process
  for line in lines:
    assert line.startswith(f"heldout score: error: the job failed: {tmp_path}/disk/s/")
    assert ": no space left on device; make room there; --verbose" in line
  first = read_manifest(str(tmp_path / "first"))
  assert read_manifest(str(tmp_path / "at-4")) == first
  last = read_manifest(str(tmp_path / "last"))
  assert (last.runs_used, last.rows) == (first.runs_used, first.rows)
  assert last.job != first.job
