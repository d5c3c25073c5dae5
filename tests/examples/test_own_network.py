"""The example of a network and a data set of one's own, with workers that are processes."""

import sys
from pathlib import Path

import numpy as np
import pytest

import heldout
from beam_pipelines import cli
from models import ModelError, build_model
from models.registry import model_names
from models.stackable import Stackable

EXAMPLES = Path(__file__).parents[2] / "examples"
OWN = {"dataset": "own_network:load", "model": "own_network:Network"}


@pytest.fixture
def examples(monkeypatch):
  """The directory of the examples, where this process and those that it starts look for modules."""
  monkeypatch.syspath_prepend(str(EXAMPLES))
  monkeypatch.setenv("PYTHONPATH", f"{EXAMPLES}:{EXAMPLES.parent}")
  yield EXAMPLES
  sys.modules.pop("own_network", None)


@pytest.mark.usefixtures("examples")
def test_it_is_trained_scored_and_verified(tmp_path, capsys):
  heldout.train(
    tmp_path / "runs", runs=range(4), epochs=8, **OWN,
    direct_num_workers=2, direct_running_mode="multi_processing",
  )  # fmt: skip
  assert heldout.verify(tmp_path / "runs", **OWN)
  scores = heldout.score(tmp_path / "runs", tmp_path / "scores", source="checkpoints", **OWN)
  assert scores.manifest.runs_used == 4
  runs = scores.columns("runs")
  assert (runs["accuracy_train"] > 0.8).all()
  assert (runs["accuracy_test"] > 0.7).all()
  assert scores.columns("index")["pixels"][297] == heldout.pixel_hash(
    heldout.load_dataset("own_network:load").train.images[0]
  )


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (["--dataset=digits", "--model=no_such:Network"], "model no_such:Network: no_such cannot be"),
    (["--dataset=no_such:load"], "data set no_such:load: no_such cannot be imported (Module"),
    (["--dataset=digits", "--model=json:Network"], "model json:Network: the module json has no "),
    (["--dataset=digits", "--model=json:loads"], "model json:loads: it must take the number"),
    (["--dataset=digits", "--model=builtins:str"], "model builtins:str makes a str: make a"),
    (["--dataset=builtins:dict"], "data set builtins:dict: what loads it returns a dict"),
    (["--dataset=json:loads"], "data set json:loads: loads() missing 1 required"),
    (["--dataset=digits", "--model=mpl"], "unknown model 'mpl': choose one of cifar_resnet18, "),
  ],
)  # fmt: skip
def test_what_is_no_plugin_is_one_line(tmp_path, flags, message, capsys):
  assert cli.main(["train", f"--experiment={tmp_path}", "--runs=0:2", *flags]) == 2
  error = capsys.readouterr().err
  assert message in error
  assert error.count("\n") == 1


_NETWORKS = """
import numpy as np
import sonnet as snt
import tensorflow as tf

class Network(snt.Module):
  def __init__(self, num_classes):
    super().__init__()
    self._logits = snt.Linear(num_classes)

  def __call__(self, images, is_training):
    return self._logits(snt.flatten(images))

class Fails(Network):
  def __init__(self, num_classes):
    raise RuntimeError("no such\\nlayer")

class FailsCalled(Network):
  def __call__(self, images, is_training):
    raise RuntimeError("not yet")

class TakesOne(Network):
  def __call__(self, images):
    return super().__call__(images, True)

class More(Network):
  def __init__(self, num_classes):
    super().__init__(num_classes + 1)

class Some(Network):
  def __call__(self, images, is_training):
    return super().__call__(images, is_training)[::2]

class Wide(Network):
  def __call__(self, images, is_training):
    return tf.cast(super().__call__(images, is_training), tf.float64)

class Named(Network):
  def __call__(self, images, is_training):
    return {"logits": super().__call__(images, is_training)}

class Leaves(Network):
  def __init__(self, num_classes):
    raise SystemExit

class LeavesCalled(Network):
  def __call__(self, images, is_training):
    raise SystemExit(3)

class Second(Network):
  def __call__(self, images, is_training):
    logits = super().__call__(images, is_training)
    return logits[:, 1:] if is_training else logits

class Later(Network):
  def __call__(self, images, is_training):
    logits = super().__call__(images, is_training)
    return logits if images.shape[0] == 2 or is_training else logits[:, :1]

class NamedLater(Network):
  def __call__(self, images, is_training):
    logits = super().__call__(images, is_training)
    return {"logits": logits} if is_training else logits

class NotANumber(Network):
  def __call__(self, images, is_training):
    return super().__call__(images, is_training) * (1.0 if is_training else float("nan"))

class Infinite(Network):
  def __call__(self, images, is_training):
    return super().__call__(images, is_training) + (0.0 if is_training else float("inf"))

class Explodes(Network):
  def __call__(self, images, is_training):
    return super().__call__(images, is_training) * (float("inf") if is_training else 1.0)

class Fixed(snt.Module):
  def __init__(self, num_classes):
    super().__init__()
    self.num_classes = num_classes

  def __call__(self, images, is_training):
    return tf.zeros((len(images), self.num_classes))
"""


@pytest.fixture
def faulty(tmp_path, monkeypatch):
  """A directory of modules with networks and data sets of which nothing can come."""
  modules = tmp_path / "modules"
  modules.mkdir()
  (modules / "nets.py").write_text(_NETWORKS)
  (modules / "raises.py").write_text("raise RuntimeError('not\\nhere')")
  (modules / "leaves.py").write_text("raise SystemExit('bye')")
  (modules / "stops.py").write_text("raise KeyboardInterrupt")
  (modules / "needs.py").write_text("import no_such_module")
  (modules / "sets.py").write_text(_DATASETS)
  monkeypatch.syspath_prepend(str(modules))
  yield modules
  for path in modules.glob("*.py"):
    sys.modules.pop(path.stem, None)


@pytest.mark.usefixtures("faulty")
@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("raises:Network", "raises:Network: raises cannot be imported (RuntimeError: not): "),
    ("leaves:Network", "leaves:Network: leaves cannot be imported (SystemExit: bye): "),
    ("needs:Network", "cannot be imported (ModuleNotFoundError: No module named 'no_such_mod"),
    ("nets:Fails", "nets:Fails cannot be made for 10 classes (RuntimeError: no such): correct it"),
    ("nets:Leaves", "nets:Leaves cannot be made for 10 classes (SystemExit): correct it"),
    ("nets:LeavesCalled", "fails on images of shape (2, 8, 8, 1) (SystemExit: 3): it must take"),
    ("nets:FailsCalled", "fails on images of shape (2, 8, 8, 1) (RuntimeError: not yet): it must"),
    ("nets:TakesOne", "is_training'): it must take images and is_training"),
    ("nets:More", "makes float32 of shape (2, 11) of 2 images: it must make logits, float32 of sh"),
    ("nets:Some", "makes float32 of shape (1, 10) of 2 images"),
    ("nets:Wide", "makes float64 of shape (2, 10) of 2 images"),
    ("nets:Named", "makes a dict of 2 images"),
    ("nets:Fixed", "has no variables: there is nothing to train"),
  ],
)  # fmt: skip
def test_a_network_that_is_none_is_one_line(tmp_path, name, message, capsys):
  flags = [f"--experiment={tmp_path}/runs", "--runs=0:2", "--dataset=digits", f"--model={name}"]
  assert cli.main(["train", *flags]) == 2
  error = capsys.readouterr().err
  assert error.startswith(f"heldout train: error: model {name}")
  assert message in error
  assert error.count("\n") == 1
  assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("faulty")
@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("nets:Second", "makes float32 of shape (None, 9) of a batch of images: it must make logits"),
    ("nets:NamedLater", "makes a dict of a batch of images: it must make logits, float32 of shape"),
    ("nets:Later", "makes float32 of shape (1797, 1) of 1797 images: it must make logits, float"),
  ],
)  # fmt: skip
def test_a_network_that_makes_something_else_later_is_one_line(tmp_path, name, message, capsys):
  flags = [f"--experiment={tmp_path}/runs", "--runs=0:2", "--dataset=digits", f"--model={name}"]
  assert cli.main(["train", *flags, "--batch_size=100"]) == 2
  error = capsys.readouterr().err
  assert error.startswith(f"heldout train: error: model {name} {message}")
  assert "while running" not in error
  assert error.count("\n") == 1
  assert not list(tmp_path.rglob("aux_arrays.npz"))


@pytest.mark.usefixtures("faulty")
@pytest.mark.parametrize("name", ["NotANumber", "Infinite", "Explodes"])
def test_logits_that_are_not_finite_are_a_diverged_run(tmp_path, name, capsys):
  """In training or in evaluation, whatever the weights are."""
  runs = [f"--experiment={tmp_path}/runs", "--dataset=digits"]
  train = ["train", *runs, "--runs=0:2", "--epochs=1", "--no_margins"]
  assert cli.main([*train, f"--model=nets:{name}"]) == 0
  assert "warning: 2 of 2 runs have diverged, their loss, weights or logits are not finite" in (
    capsys.readouterr().err
  )
  score = ["score", *runs, f"--scores={tmp_path}/scores"]
  assert cli.main(score) == 2
  assert "has diverged in training: training_loss in aux_arrays.npz is " in capsys.readouterr().err


@pytest.mark.usefixtures("faulty")
def test_checkpoints_that_make_no_finite_logits_are_skipped(tmp_path, capsys):
  runs = [f"--experiment={tmp_path}/runs", "--dataset=digits"]
  assert cli.main(["train", *runs, "--runs=0:2", "--epochs=1", "--model=nets:Network"]) == 0
  capsys.readouterr()
  model = ["--source=checkpoints", "--model=nets:NotANumber"]
  assert cli.main(["score", *runs, f"--scores={tmp_path}/scores", *model]) == 2
  error = capsys.readouterr().err
  assert "runs/0.7/0 has a network whose logits are not finite on some examples" in error
  assert error.count("\n") == 1
  assert cli.main(["verify", *runs, "--model=nets:NotANumber"]) == 2
  assert "has a network whose logits are not finite on some examples" in capsys.readouterr().err


_DATASETS = """
import dataclasses
import numpy as np
import heldout

images, labels = np.zeros((9, 4, 4), np.uint8), np.arange(9) % 3

def fails():
  raise RuntimeError("no such\\nplace")

def leaves():
  raise SystemExit("bye")

def stops():
  raise KeyboardInterrupt

def tears():
  def examples():
    yield images[0], 0
    raise OSError(5, "Input/output error", "some/where.png")
  return heldout.checked_dataset("x", train=examples(), test=examples())

def prints():
  print("loading")
  split = images, labels
  return heldout.checked_dataset("x", train=split, test=split)

def needs():
  import no_such_module

def yields():
  yield images

def lists():
  return heldout.checked_dataset("x", train=([[1]], [0]), test=([[1]], [0]))

def beyond():
  split = images, labels
  return heldout.checked_dataset("x", train=split, test=split, num_classes=2)

def _changed(**changes):
  split = images, labels
  sound = heldout.checked_dataset("x", train=split, test=split)
  return dataclasses.replace(sound, **changes)

class Longer:
  def __init__(self, split):
    self._split = split
  def __len__(self):
    return 10
  def __getattr__(self, name):
    return getattr(self._split, name)

class Torn(Longer):
  @property
  def labels(self):
    raise RuntimeError("gone\\nnow")

def torn():
  return _changed(train=Torn(_changed().train))

def longer():
  return _changed(train=Longer(_changed().train))

def fewer_classes():
  return _changed(num_classes=2)
"""


@pytest.mark.usefixtures("faulty")
@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("raises:load", "raises:load: raises cannot be imported (RuntimeError: not): "),
    ("leaves:load", "leaves:load: leaves cannot be imported (SystemExit: bye): "),
    ("sets:fails", "sets:fails: no such; correct the function that loads it"),
    ("sets:leaves", "sets:leaves: SystemExit: bye; correct the function that loads it"),
    ("sets:stops", "KeyboardInterrupt was raised without Ctrl-C: correct the network or data set"),
    ("stops:load", "KeyboardInterrupt was raised without Ctrl-C: correct the network or data set"),
    ("sets:tears", "sets:tears: Input/output error; correct the function that loads it"),
    ("sets:torn", "data set sets:torn: gone; correct what its function returns"),
    ("sets:needs", "sets:needs: No module named 'no_such_module'; correct the function"),
    ("sets:yields", "sets:yields: what loads it returns a generator: return what"),
    ("sets:lists", "sets:lists: 'list' object has no attribute"),
    ("sets:beyond", "x: train label 2 of example 2 is outside 0..1"),
    ("sets:longer", "data set sets:longer: train has 10 examples but 9 labels: give one each"),
    ("sets:fewer_classes", "sets:fewer_classes: train label 2 of example 2 is outside 0..1"),
  ],
)
def test_a_data_set_that_is_none_is_one_line(tmp_path, name, message, capsys):
  assert cli.main(["train", f"--experiment={tmp_path}/x", "--runs=0:2", f"--dataset={name}"]) == 2
  error = capsys.readouterr().err
  assert error.startswith("heldout train: error: ")
  assert message in error
  assert error.count("\n") == 1


@pytest.mark.usefixtures("faulty")
def test_what_a_data_set_prints_does_not_get_into_an_output(capsys):
  assert len(heldout.load_dataset("sets:prints").train) == 9
  assert capsys.readouterr() == ("", "loading\n")


def test_an_installed_package_offers_data_sets_by_entry_point(tmp_path, monkeypatch):
  info = tmp_path / "birds-1.0.dist-info"
  info.mkdir()
  (info / "METADATA").write_text("Metadata-Version: 2.1\nName: birds\nVersion: 1.0\n")
  (info / "entry_points.txt").write_text("[heldout.datasets]\nbirds = birds:load\n")
  (tmp_path / "birds.py").write_text(
    "import numpy as np, heldout\n"
    "def load(size='3'):\n"
    "  images = np.arange(int(size) * 16, dtype=np.uint8).reshape(-1, 4, 4)\n"
    "  split = images, np.arange(int(size)) % 2\n"
    "  return heldout.checked_dataset('birds', train=split, test=split)\n"
  )
  monkeypatch.syspath_prepend(str(tmp_path))
  assert len(heldout.load_dataset("birds").train) == 3
  assert len(heldout.load_dataset("birds:5").train) == 5


def test_stacking_is_offered_not_inherited():
  stacking = {name for name in model_names() if isinstance(build_model(name, 10), Stackable)}
  assert stacking == {"mlp", "mlp_small"}


@pytest.mark.usefixtures("examples")
def test_a_network_of_ones_own_may_stack(tmp_path):
  (tmp_path / "stacking.py").write_text(
    "import sonnet as snt\n"
    "from models.mlp import MLP\n"
    "from models.stacked_mlp import StackedMLP\n"
    "class Net(snt.Module):\n"
    "  def __init__(self, num_classes):\n"
    "    super().__init__()\n"
    "    self._net = MLP(num_classes, hidden=(8,))\n"
    "  def __call__(self, images, is_training):\n"
    "    return self._net(images, is_training)\n"
    "  def stacked(self, built, stack, precision):\n"
    "    return StackedMLP(built, stack, precision)\n"
  )
  sys.path.insert(0, str(tmp_path))
  try:
    heldout.train(
      tmp_path / "runs", dataset="digits", model="stacking:Net", runs=range(2), epochs=1, stack=2
    )
    with pytest.raises(ModelError, match="trains one run at a time"):
      heldout.train(
        tmp_path / "own", dataset="digits", model="own_network:Network", runs=range(2), stack=2
      )
  finally:
    sys.path.remove(str(tmp_path))
  assert np.load(tmp_path / "runs/0.7/1/aux_arrays.npz")["correctness_test"].shape == (360,)
