"""Commands run without root's right to read whatever it likes."""

import subprocess
import sys

# Of <linux/prctl.h> and <linux/capability.h>: what a process does not have in its bounding set, the
# program that it turns into cannot have.
_DROP = """
import ctypes, os, sys
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2
if os.geteuid() == 0:
  for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
    if ctypes.CDLL(None, use_errno=True).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
      sys.exit(os.strerror(ctypes.get_errno()))
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def run_cli(*argv):
  """Runs a command of ours in a process that file permissions bind, and returns the process."""
  command = [sys.executable, "-c", _DROP, "-m", "beam_pipelines.cli", *map(str, argv)]
  return subprocess.run(command, capture_output=True, text=True)
