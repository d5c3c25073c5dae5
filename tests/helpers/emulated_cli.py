"""The `heldout` command with the emulators that the environment names: for processes to kill."""

import os
import sys

import pytest

from beam_pipelines import cli
from tests.helpers.cloud import redirect

if __name__ == "__main__":
  redirect(
    pytest.MonkeyPatch(),
    os.environ["STORAGE_EMULATOR_HOST"],
    os.environ["BIGQUERY_EMULATOR_HOST"],
  )
  sys.exit(cli.main())
