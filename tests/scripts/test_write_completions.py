import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_shells_are_told_the_flags_of_the_parsers():
  script = "scripts/write_completions.py"
  table = ROOT / "beam_pipelines" / "launch" / "completions.json"
  command = [sys.executable, str(ROOT / script)]
  written = subprocess.run(command, capture_output=True, check=True).stdout.decode()
  assert table.read_text("utf-8") == written, f"run `python {script} > {table}`"
