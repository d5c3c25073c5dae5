import subprocess
import sys

import files
from beam_pipelines.storage.scores.staging import Staging, discard_left_over
from beam_pipelines.storage.scores.tables import make_table


def _stage(path, job):
  staging = Staging.begin(path, job)
  staging.mark_owner()
  staging.stage("skipped", "a", make_table("skipped", path=["x"], reason=["bad"]))


def test_what_a_killed_process_has_staged_is_taken_away(tmp_path):
  path = str(tmp_path)
  _stage(path, "living")
  Staging.begin(path, "elsewhere").refuse("its job may go on on other machines")
  code = f"from {__name__} import _stage; _stage({path!r}, 'dead')"
  subprocess.run([sys.executable, "-c", code], check=True)
  kept = [".staging-elsewhere", ".staging-living"]
  assert sorted(discard_left_over(path)) == [f"{path}/{name}" for name in kept]
  assert sorted({info.name.partition("/")[0] for info in files.list_files(path)}) == kept
