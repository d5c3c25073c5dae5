"""The data set that a command is asked for: its flags, and what is looked at before a job runs."""

from __future__ import annotations

import argparse

from tqdm import tqdm

from beam_pipelines.launch import arguments
from beam_pipelines.launch.groups import DATA_SETS, READS
from beam_pipelines.launch.parser import Parser
from beam_pipelines.launch.progress import columns
from files.errors import UsageError
from image_datasets import (
  Dataset,
  StreamedDataset,
  check_images,
  describe_specs,
  is_in_data_dir,
  load_dataset,
)

_STREAMED = "tfrecord:"

# By what they are called in a spec.
_OPTIONS = {
  "index": ("index_feature", "NAME", "feature with an example's index (default: index)"),
  "label": ("label_feature", "NAME", "with its label (default: image/class/label)"),
  "image": ("image_feature", "NAME", "with its image (default: image/encoded)"),
  "first_label": ("first_label", "N", "label of the first class (default: 1)"),
  "size": ("image_size", "PIXELS", "side of the images that models see (default: 224)"),
}


def add_flags(parser: Parser, what: str, *, required: bool = False, check: bool = True) -> None:
  """Adds the flags of a data set, and says which kinds there are.

  Args:
    parser: gets them.
    what: which data set it is.
    required: whether there must be one.
    check: whether its images may be asked to be looked at first.
  """
  parser.add(
    READS, "--dataset", type=arguments.dataset, required=required, metavar="DATASET", help=what
  )
  parser.add(
    DATA_SETS,
    "--data_dir",
    type=arguments.path,
    metavar="DIR",
    help="where tfds: data sets lie (default: where TFDS keeps its own)",
  )
  for flag, metavar, meaning in _OPTIONS.values():
    parser.add(DATA_SETS, f"--{flag}", metavar=metavar, help=meaning)
  parser.set_defaults(check=False)
  if check:
    parser.add(
      DATA_SETS,
      "--check",
      action="store_true",
      help="first look at every image that is streamed",
    )
  parser.conclusions += [_check_data_dir, _complete_spec]
  parser.appendices.append(f"Data sets:\n{describe_specs()}")


def asked_dataset(args: argparse.Namespace) -> Dataset | None:
  """Loads the data set, if one is given, and looks at its images if that is asked for.

  Raises:
    UsageError: it cannot be had, or it is not sound.
  """
  if args.dataset is None:
    return None
  dataset = load_dataset(args.dataset, args.data_dir)
  if args.check and isinstance(dataset, StreamedDataset):
    images = len(dataset.train) + len(dataset.test)
    with tqdm(desc="images", total=images, leave=False, disable=None, ncols=columns()) as bar:
      for _ in check_images(dataset):
        bar.update()
    print(f"{args.dataset}: all of its {images:,} images are sound")
  return dataset


def required_dataset(args: argparse.Namespace) -> Dataset:
  """Returns what `asked_dataset` does, where the flag is required."""
  dataset = asked_dataset(args)
  assert dataset is not None
  return dataset


def _check_data_dir(args: argparse.Namespace) -> None:
  """Makes sure that the flag is not passed over."""
  specs = filter(None, (args.dataset, getattr(args, "order", None)))
  if args.data_dir is not None and not any(map(is_in_data_dir, specs)):
    raise UsageError("--data_dir: nothing but tfds: data sets lies there; leave it out")


def _complete_spec(args: argparse.Namespace) -> None:
  """Puts the flags that say more of a data set into its spec, which is all that workers know."""
  for name, (flag, *_) in _OPTIONS.items():
    value = getattr(args, flag)
    if value is None:
      continue
    if args.dataset is None or not args.dataset.startswith(_STREAMED):
      raise UsageError(f"--{flag} needs a tfrecord: data set, not --dataset={args.dataset}")
    args.dataset += f",{name}={value}"
