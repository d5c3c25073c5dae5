from beam_pipelines.transforms.spill_values import SpillValues
from files.spill import Spill, Spilled, load
from tests.helpers.eager import run_eagerly

PAIRS = [("a", b"1" * 1000), ("b", None), ("a", [1, 2])]


def test_values_wait_on_the_disk(tmp_path):
  pairs = run_eagerly(SpillValues(Spill(str(tmp_path))), PAIRS)
  assert sorted(key for key, _ in pairs) == ["a", "a", "b"]
  assert all(isinstance(value, Spilled) for _, value in pairs)
  assert sum(path.stat().st_size for path in tmp_path.iterdir()) > 1000


def test_they_come_back_as_they_were(tmp_path):
  for spill in (Spill(str(tmp_path)), None):
    loaded = [(key, load(value)) for key, value in run_eagerly(SpillValues(spill), PAIRS)]
    assert sorted(loaded, key=repr) == sorted(PAIRS, key=repr)
