import threading

import pytest

from files.read_ahead import map_ahead, read_ahead


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


def test_the_next_items_are_worked_on_while_one_is_used():
  begun = [threading.Event() for _ in range(20)]
  may_finish = threading.Event()

  def work(item):
    begun[item].set()
    assert may_finish.wait(timeout=60)
    return 10 * item

  working = map_ahead(work, range(20), 4)
  item, _ = next(working)
  assert item == 0
  assert all(begun[ahead].wait(timeout=60) for ahead in range(4))
  may_finish.set()
  assert begun[4].wait(timeout=60)
  assert not any(event.is_set() for event in begun[5:])
  assert [(item, future.result()) for item, future in working] == [
    (item, 10 * item) for item in range(1, 20)
  ]


def test_no_thread_is_left_when_the_rest_is_not_wanted():
  before = set(threading.enumerate())
  working = map_ahead(abs, range(20), 4)
  next(working)
  assert set(threading.enumerate()) > before
  working.close()
  assert set(threading.enumerate()) <= before
