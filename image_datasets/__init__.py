"""Image classification data sets, loaded by a one-line spec such as `idx:gs://bucket/mnist`."""

from image_datasets.checks import checked_dataset
from image_datasets.dataset import ImageDataset, LabeledImages
from image_datasets.errors import DatasetError
from image_datasets.interface import Batch, Dataset, Examples, all_batches, all_labels
from image_datasets.pixels import pixel_hash, pixel_hashes
from image_datasets.registry import (
  dataset_path,
  describe_specs,
  is_in_data_dir,
  load_dataset,
  spec_beginnings,
)
from image_datasets.soundness import check_images
from image_datasets.streamed import StreamedDataset, StreamedExamples

__all__ = [
  "Batch",
  "Dataset",
  "DatasetError",
  "Examples",
  "ImageDataset",
  "LabeledImages",
  "StreamedDataset",
  "StreamedExamples",
  "all_batches",
  "all_labels",
  "check_images",
  "checked_dataset",
  "dataset_path",
  "describe_specs",
  "is_in_data_dir",
  "load_dataset",
  "pixel_hash",
  "pixel_hashes",
  "spec_beginnings",
]
