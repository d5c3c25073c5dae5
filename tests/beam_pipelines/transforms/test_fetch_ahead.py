import threading

from beam_pipelines.transforms.fetch_ahead import fetch_ahead


def test_the_next_runs_are_fetched_while_one_is_used():
  begun = [threading.Event() for _ in range(20)]
  may_finish = threading.Event()

  def fetch(run):
    begun[run].set()
    assert may_finish.wait(timeout=60)
    return 10 * run

  fetching = fetch_ahead(range(20), fetch)
  run, _ = next(fetching)
  assert run == 0
  assert all(begun[ahead].wait(timeout=60) for ahead in range(4))
  may_finish.set()
  assert begun[4].wait(timeout=60)
  assert not any(event.is_set() for event in begun[5:])
  assert [(run, future.result()) for run, future in fetching] == [
    (run, 10 * run) for run in range(1, 20)
  ]


def test_no_thread_is_left_when_the_rest_is_not_wanted():
  before = set(threading.enumerate())
  fetching = fetch_ahead(range(20), lambda run: run)
  next(fetching)
  assert set(threading.enumerate()) > before
  fetching.close()
  assert set(threading.enumerate()) <= before
