"""No character in a name changes which file is meant."""

import itertools
import tempfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import files
from beam_pipelines import cli
from files import FileInfo
from tests.helpers.gcs import BUCKET, emulated_gcs
from tests.helpers.outcomes import make_outcomes, write_experiment
from tests.helpers.s3 import emulated_s3

_numbers = itertools.count()

SPECIAL = "[]{}()*?#%~ !+&=:;@$'\"\\,<>|^`-_.1xé"
NAMES = st.text(
  st.sampled_from(SPECIAL)
  | st.characters(exclude_categories=("Cc", "Cn", "Co", "Cs", "Zl", "Zp"), exclude_characters="/"),
  min_size=1,
  max_size=12,
).filter(lambda name: name not in (".", "..") and not name.endswith(".tmp"))
# What patterns among the special names may be taken for.
DECOYS = ("1", "x", "xx", "[1]", "s", "%20", "a#1", "~root")


# The emulator of gs:// takes what follows a semicolon for parameters of the request.
GCS_NAMES = NAMES.filter(lambda name: ";" not in name)


@pytest.fixture(scope="module", params=["local", "gs", "s3", "memory"])
def root(request):
  with pytest.MonkeyPatch.context() as patch:
    if request.param == "gs":
      with emulated_gcs(patch):
        yield f"gs://{BUCKET}"
    elif request.param == "s3":
      with emulated_s3(patch) as (bucket, _):
        yield f"s3://{bucket}"
    elif request.param == "local":
      with tempfile.TemporaryDirectory() as directory:
        yield directory
    else:
      yield "memory://names"


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_names_are_kept_through_writing_listing_reading_moving_and_deleting(root, data):
  possible = GCS_NAMES if root.startswith("gs:") else NAMES
  names = data.draw(st.sets(possible, min_size=1, max_size=4))
  directory = data.draw(possible)
  root = f"{root}/{next(_numbers)}"
  contents = {f"{directory}/{name}": name.encode() for name in names | set(DECOYS)}
  decoys = {f"{name}-/{name}": b"decoy" for name in DECOYS if f"{name}-" != directory}

  def check(expected):
    listed = files.list_files(root)
    assert listed == [FileInfo(name, len(expected[name])) for name in sorted(expected)]
    paths = [f"{root}/{name}" for name in expected]
    assert dict(files.read_many(paths)) == {f"{root}/{n}": c for n, c in expected.items()}
    for path, content in zip(paths, expected.values(), strict=True):
      assert files.read_bytes(path) == content
      assert files.size(path) == len(content)
      assert files.exists(path)

  for name, content in {**contents, **decoys}.items():
    files.write_bytes(f"{root}/{name}", content)
  check({**contents, **decoys})
  with files.create(f"{root}/{directory}/{min(names)}") as file:
    file.write(min(names).encode())
  check({**contents, **decoys})
  files.move((f"{root}/{directory}/{name}", f"{root}/moved-{directory}/{name}") for name in names)
  moved = {f"moved-{directory}/{name}": name.encode() for name in names}
  rest = {
    path: content for path, content in contents.items() if path[len(directory) + 1 :] not in names
  }
  check({**moved, **rest, **decoys})
  files.delete(f"{root}/moved-{directory}/{name}" for name in names)
  check({**rest, **decoys})
  files.delete_directory(f"{root}/{directory}")
  check(decoys)
  files.delete_directory(root)
  assert files.list_files(root) == []


@pytest.mark.parametrize("names", [("e [1]*?", "s/g[1]*"), ("e#%20~", "~"), ("gs:{e}", "a::b")])
def test_a_command_takes_paths_as_they_are(tmp_path, names):
  experiment, scores = (tmp_path / name for name in names)
  write_experiment(experiment, make_outcomes(0.7, range(6), num_train=1_437, num_test=360))
  for _ in range(2):  # the second replaces what the first has published
    flags = [f"--experiment={experiment}", f"--scores={scores}", "--dataset=digits", "--dense"]
    assert cli.main(["score", *flags]) == 0
  assert (scores / "manifest.json").exists()
  assert not list(scores.glob(".staging-*"))
  assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
    name.split("/")[0] for name in names
  )
