import pickle
import threading

import numpy as np
import pytest

from files.spill import Spill, Spilled, load


def test_values_come_back_in_any_order_while_others_are_put(tmp_path):
  file = Spill(str(tmp_path)).open()
  values = [b"", {"a": (1, None)}, np.arange(100_000), "é"]
  spilled = []
  for value in values:
    spilled.append(file.put(value))
    np.testing.assert_equal(load(spilled[-1]), value)
  for place in (2, 0, 3, 1):
    np.testing.assert_equal(load(spilled[place]), values[place])
  file.close()
  np.testing.assert_equal([load(each) for each in spilled], values)


def test_what_is_left_in_memory_is_small(tmp_path):
  file = Spill(str(tmp_path)).open()
  spilled = file.put(np.zeros(1_000_000))
  file.close()
  assert spilled.size >= 8_000_000
  assert len(pickle.dumps(spilled)) < 500


def test_what_is_not_spilled_is_itself():
  value = [1]
  assert load(value) is value
  assert load(None) is None


def test_threads_have_files_of_their_own(tmp_path):
  spill = Spill(str(tmp_path))
  found: list[tuple[int, Spilled]] = []

  def put(thread):
    file = spill.open()
    for number in range(100):
      found.append((1000 * thread + number, file.put(1000 * thread + number)))
    file.close()

  threads = [threading.Thread(target=put, args=(thread,)) for thread in range(4)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert len(found) == 400
  assert all(load(spilled) == value for value, spilled in found)


def test_a_value_that_is_gone_is_an_error_that_names_the_file(tmp_path):
  file = Spill(str(tmp_path)).open()
  spilled = file.put(1)
  file.close()
  next(tmp_path.iterdir()).unlink()
  with pytest.raises(FileNotFoundError, match=str(tmp_path)):
    load(spilled)
