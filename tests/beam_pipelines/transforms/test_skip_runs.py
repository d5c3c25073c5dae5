import pytest

from beam_pipelines.storage.runs.judgement import UnusableRunError, WayOut
from beam_pipelines.transforms.skip_runs import skip


@pytest.mark.parametrize(
  ("error", "reason"),
  [
    (ValueError("is broken"), "is broken"),
    (ValueError("is broken\nas follows"), "is broken"),
    (ValueError(), "ValueError"),
    (ValueError(f"cannot read {object()}"), "cannot read <object>"),
    (ValueError("no <_io.BytesIO object at 0x7f14f1222150>"), "no <_io.BytesIO>"),
    (ValueError("in <function read at 0x7F14>: no"), "in <function read>: no"),
    (
      UnusableRunError("has 2", WayOut.CHOOSE_CHECKPOINT),
      "has 2; --checkpoint=latest or --checkpoint=EPOCH chooses one",
    ),
    (UnusableRunError("is odd", WayOut.NAME_DATASET), "is odd; --dataset names it"),
  ],
)
def test_a_reason_is_one_line_without_addresses_and_with_the_way_out(error, reason):
  assert skip("/runs/0.7/1", error).reason == reason


def test_every_way_out_has_a_flag():
  for way_out in WayOut:
    assert "--" in skip("", UnusableRunError("is odd", way_out)).reason
