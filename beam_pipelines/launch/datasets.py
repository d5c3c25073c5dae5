"""The data set that a command is asked for: its flags, and what is looked at before a job runs."""

from __future__ import annotations

import argparse

from tqdm import tqdm

from beam_pipelines.launch import arguments, command
from files.errors import UsageError
from image_datasets import Dataset, StreamedDataset, check_images, load_dataset

_STREAMED = "tfrecord:"

# By what they are called in a spec.
_OPTIONS = {
  "index": ("index_feature", "feature with the index of each example (default: index)"),
  "label": ("label_feature", "feature with its label (default: image/class/label)"),
  "image": ("image_feature", "feature with its encoded image (default: image/encoded)"),
  "first_label": ("first_label", "label of the first class (default: 1)"),
  "size": ("image_size", "height and width that models see, in pixels (default: 224)"),
}


def add_flags(
  parser: command.Parser, what: str, *, required: bool = False, check: bool = True
) -> None:
  """Adds the flags of a data set; its kinds belong into the parser's epilog.

  Args:
    parser: gets them.
    what: which data set it is.
    required: whether there must be one.
    check: whether its images may be asked to be looked at first.
  """
  arguments.add_dataset(parser, what, required=required)
  for _, (flag, meaning) in _OPTIONS.items():
    parser.add_argument(f"--{flag}", help=f"of a tfrecord: data set, {meaning}")
  parser.set_defaults(check=False)
  if check:
    parser.add_argument(
      "--check",
      action="store_true",
      help="first look at every image of a data set that is streamed",
    )
  parser.conclusions.append(_complete_spec)


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
    for _ in tqdm(check_images(dataset), "images", images, leave=False, disable=None):
      pass
    print(f"{args.dataset}: all of its {images:,} images are sound")
  return dataset


def required_dataset(args: argparse.Namespace) -> Dataset:
  """Returns what `asked_dataset` does, where the flag is required."""
  dataset = asked_dataset(args)
  assert dataset is not None
  return dataset


def _complete_spec(args: argparse.Namespace) -> None:
  """Puts the flags that say more of a data set into its spec, which is all that workers know."""
  for name, (flag, _) in _OPTIONS.items():
    value = getattr(args, flag)
    if value is None:
      continue
    if args.dataset is None or not args.dataset.startswith(_STREAMED):
      raise UsageError(f"--{flag} needs a tfrecord: data set, not --dataset={args.dataset}")
    args.dataset += f",{name}={value}"
