"""Publishing, stopped anywhere and by several at once."""

import json
import multiprocessing
import pickle

import pytest

import files
from beam_pipelines.storage.scores import publication
from beam_pipelines.storage.scores.conservation import PublicationError
from beam_pipelines.storage.scores.directory import read_table
from beam_pipelines.storage.scores.manifest import read_manifest, read_stub
from beam_pipelines.storage.scores.publication import finish_publication, publish
from beam_pipelines.storage.scores.staging import ANY, Staging
from beam_pipelines.storage.scores.tables import make_table
from files.errors import UsageError
from tests.helpers.scores import make_manifest, make_request, publish_tables, stage_tables


class Stopped(BaseException):
  """As SIGKILL does, it leaves everything as it is."""


def _skipped(*paths):
  return make_table("skipped", path=list(paths), reason=["bad"] * len(paths))


def _stage(path, job, **tables):
  staging, parts = stage_tables(path, job, **tables)
  return staging, make_manifest(parts, make_request(job=job))


def _paths(path):
  return read_table(str(path), "skipped")["path"].to_pylist()


def _names(path):
  return {found.relative_to(path).as_posix() for found in path.rglob("*") if found.is_file()}


def test_nothing_is_visible_before_publishing(tmp_path):
  _stage(tmp_path, "job", skipped=_skipped("x"))
  assert read_stub(str(tmp_path)) is None
  assert all(name.startswith(".staging-job/") for name in _names(tmp_path))


def test_publishing_replaces_all_parts_and_leaves_nothing_behind(tmp_path):
  publish_tables(tmp_path, job="first", skipped=[_skipped("1"), _skipped("2")])
  publish_tables(tmp_path, job="second", skipped=[_skipped("3", "4")])
  assert _paths(tmp_path) == ["3", "4"]
  assert _names(tmp_path) == {"manifest.json", "skipped/0.parquet"}


def test_publishing_twice_is_publishing_once(tmp_path):
  staging, manifest = _stage(tmp_path, "job", skipped=_skipped("1"))
  publish(staging, manifest)
  publish(staging, manifest)
  assert _paths(tmp_path) == ["1"]
  assert _names(tmp_path) == {"manifest.json", "skipped/0.parquet"}


STEPS = ["claim", "move", "delete", "write_json", "delete_directory"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("step", STEPS)
def test_whatever_stops_a_publication_anybody_can_finish_it(
  tmp_path, monkeypatch, step, times, after
):
  """And before its claim, nothing has happened: the former scores are there."""
  publish_tables(tmp_path, job="first", skipped=[_skipped("1"), _skipped("2"), _skipped("3")])
  staging, manifest = _stage(tmp_path, "second", skipped=[_skipped("4"), _skipped("5")])
  original, left = getattr(files, step), [times]

  def stop(*arguments):
    left[0] -= 1
    if left[0]:
      return original(*arguments)
    if after:
      original(*arguments)
    raise Stopped

  with monkeypatch.context() as patch:
    patch.setattr(files, step, stop)
    try:
      publish(staging, manifest)
    except Stopped:
      pass
    else:
      assert left[0] > 0, "it was not stopped"
  claimed = files.exists(str(tmp_path / "publication.json"))
  assert finish_publication(str(tmp_path)) is claimed
  done = claimed or step != "claim" or left[0] > 0
  assert _paths(tmp_path) == (["4", "5"] if done else ["1", "2", "3"])
  assert not finish_publication(str(tmp_path))
  if done:
    assert _names(tmp_path) == {"manifest.json", "skipped/0.parquet", "skipped/1.parquet"}


def test_whoever_publishes_second_fails_in_a_line(tmp_path):
  """Both began before either had published; the slower one must not undo the other."""
  slow = _stage(tmp_path, "slow", skipped=[_skipped("1"), _skipped("2")])
  publish_tables(tmp_path, job="quick", skipped=_skipped("3"))
  with pytest.raises(PublicationError, match="other scores were published there since") as error:
    publish(*slow)
  assert "\n" not in str(error.value)
  assert _paths(tmp_path) == ["3"]
  assert read_manifest(str(tmp_path)).job == "quick"
  assert slow[0].read(slow[1].parts[0]).num_rows == 1  # its staging is its own


def test_nobody_publishes_while_another_does(tmp_path, monkeypatch):
  first = _stage(tmp_path, "first", skipped=_skipped("1"))
  second = _stage(tmp_path, "second", skipped=_skipped("2"))

  def interfere(moves):
    with pytest.raises(PublicationError, match="another command is publishing there"):
      publish(*second)
    move(moves)

  move = files.move
  monkeypatch.setattr(files, "move", interfere)
  publish(*first)
  assert _paths(tmp_path) == ["1"]


def test_a_job_that_wakes_up_after_others_went_on_changes_nothing(tmp_path, monkeypatch):
  """It was stopped while it published; somebody finished that, and published other scores."""
  sleeper = _stage(tmp_path, "sleeper", skipped=[_skipped("1"), _skipped("2")])

  def sleep(scores, experiment, job):
    monkeypatch.undo()
    assert finish_publication(scores)
    publish_tables(tmp_path, job="other", skipped=_skipped("3"))

  monkeypatch.setattr(publication, "write_stub", sleep)
  with pytest.raises(PublicationError):
    publish(*sleeper)
  assert read_stub(str(tmp_path)).job == "other"
  assert _paths(tmp_path) == ["3"]


def test_a_part_that_is_not_staged_is_never_published(tmp_path):
  publish_tables(tmp_path, job="first", skipped=[_skipped("1"), _skipped("2")])
  staging, manifest = _stage(tmp_path, "second", skipped=[_skipped("3"), _skipped("4")])
  (tmp_path / ".staging-second" / "skipped" / "1.parquet").unlink()
  reason = r"\.staging-second/skipped/1\.parquet is missing: nothing is published that is not"
  with pytest.raises(PublicationError, match=reason):
    publish(staging, manifest)
  assert _paths(tmp_path) == ["1", "2"]


def test_a_job_of_a_template_replaces_what_is_there(tmp_path):
  staging, manifest = _stage(tmp_path, "template", skipped=_skipped("1"))
  publish_tables(tmp_path, job="other", skipped=_skipped("2"))
  # Workers get it from a description of the job, in which no string is the same object.
  base = "".join(list(ANY))
  publish(pickle.loads(pickle.dumps(Staging(staging.scores, staging.job, base))), manifest)
  assert _paths(tmp_path) == ["1"]


def test_a_publication_that_cannot_be_read_is_named(tmp_path):
  (tmp_path / "publication.json").write_text(json.dumps({"manifest": {}}))
  with pytest.raises(UsageError, match=r"publication\.json is damaged \(") as error:
    finish_publication(str(tmp_path))
  assert "\n" not in str(error.value)


def _publish_at_once(barrier, path, job, base, results):
  staging = Staging(path, job, base)
  parts = [staging.stage("skipped", f"{n}", _skipped(f"{job}-{n}")) for n in range(5)]
  manifest = make_manifest(parts, make_request(job=job))
  barrier.wait()
  try:
    publish(staging, manifest)
  except PublicationError as error:
    results.put((job, str(error)))
  else:
    results.put((job, None))


@pytest.mark.parametrize("attempt", range(5))
def test_of_processes_that_publish_at_once_one_does(tmp_path, attempt):
  publish_tables(tmp_path, job="former", skipped=[_skipped(str(n)) for n in range(7)])
  context = multiprocessing.get_context("spawn")
  barrier, results = context.Barrier(3), context.Queue()
  arguments = [(barrier, str(tmp_path), f"job{n}", "former", results) for n in range(3)]
  processes = [context.Process(target=_publish_at_once, args=each) for each in arguments]
  for process in processes:
    process.start()
  reasons = dict(results.get(timeout=120) for _ in processes)
  for process in processes:
    process.join()
  (published,) = [job for job, reason in reasons.items() if reason is None]
  assert _paths(tmp_path) == [f"{published}-{n}" for n in range(5)]
  assert read_manifest(str(tmp_path)).job == published


def test_several_that_finish_a_publication_do_it_once(tmp_path, monkeypatch):
  publish_tables(tmp_path, job="former", skipped=[_skipped("1"), _skipped("2")])
  staging, manifest = _stage(tmp_path, "job", skipped=[_skipped("3"), _skipped("4")])

  def meet(moves):
    monkeypatch.undo()
    moves = list(moves)
    files.move(moves[:1])  # another process is just ahead
    files.move(moves)

  monkeypatch.setattr(files, "move", meet)
  publish(staging, manifest)
  assert _paths(tmp_path) == ["3", "4"]


@pytest.mark.parametrize(
  ("field", "value"),
  [
    ("replaced", ["../../precious"]),
    ("replaced", ["/precious"]),
    ("replaced", ["influence.zarr/../../precious"]),
    ("replaced", ["manifest.json"]),
    ("job", "x/../../../precious"),
    ("part", "../../precious"),
  ],
)
def test_a_publication_that_reaches_out_of_its_directory_is_refused(tmp_path, field, value):
  (tmp_path / "precious").touch()
  scores = tmp_path / "a" / "scores"
  publish_tables(scores, skipped=_skipped("1"))
  manifest = read_manifest(str(scores)).as_json()
  if field == "job":
    manifest["job"] = value
  if field == "part":
    manifest["parts"][0]["name"] = value
  replaced = value if field == "replaced" else []
  path = scores / "publication.json"
  path.write_text(json.dumps({"manifest": manifest, "replaced": replaced}))
  with pytest.raises(UsageError, match=rf"^{path} is damaged \(.* is no part of scores\): delete"):
    finish_publication(str(scores))
  assert (tmp_path / "precious").exists()
  assert _paths(scores) == ["1"]


@pytest.mark.parametrize("obstacle", ["skipped", "skipped/0.parquet/deep"])
def test_nothing_is_touched_where_something_is_in_the_way(tmp_path, obstacle):
  publish_tables(tmp_path, job="first")
  (tmp_path / obstacle).parent.mkdir(parents=True, exist_ok=True)
  (tmp_path / obstacle).touch()
  staging, manifest = _stage(tmp_path, "second", skipped=_skipped("4"))
  with pytest.raises(PublicationError, match=f"{tmp_path}/{obstacle} is in the place of a table"):
    publish(staging, manifest)
  assert read_manifest(str(tmp_path)).job == "first"
  assert not (tmp_path / "publication.json").exists()


def test_an_empty_directory_is_not_in_the_way(tmp_path):
  (tmp_path / "skipped" / "0.parquet").mkdir(parents=True)
  publish_tables(tmp_path, skipped=_skipped("4"))
  assert _paths(tmp_path) == ["4"]
