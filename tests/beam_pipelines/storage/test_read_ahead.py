import threading

import pytest

from beam_pipelines.storage.read_ahead import read_ahead


@pytest.mark.parametrize("depth", [1, 3, 100])
def test_items_come_in_order(depth):
  assert list(read_ahead(iter(range(50)), depth)) == list(range(50))
  assert list(read_ahead([], depth)) == []
  assert list(read_ahead([None, None], depth)) == [None, None]


def test_another_thread_draws_ahead_and_no_further():
  drawn, enough = [], threading.Event()

  def items():
    for item in range(100):
      drawn.append((item, threading.get_ident()))
      if item == 4:
        enough.set()
      yield item

  ahead = read_ahead(items(), 4)
  assert next(ahead) == 0
  assert enough.wait(10)
  assert len(drawn) == 5
  assert threading.get_ident() not in {thread for _, thread in drawn}
  ahead.close()
  assert len(drawn) == 5


def test_what_drawing_raises_is_raised_in_its_place():
  def items():
    yield 1
    raise ZeroDivisionError

  ahead = read_ahead(items(), 5)
  assert next(ahead) == 1
  with pytest.raises(ZeroDivisionError):
    next(ahead)
