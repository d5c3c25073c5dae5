"""Looking at every image of a streamed data set before anybody trains on it."""

import os
from collections.abc import Iterator

from files.read_ahead import map_ahead
from image_datasets.errors import DatasetError
from image_datasets.interface import Dataset
from image_datasets.streamed import StreamedDataset, StreamedExamples

_SHOWN = 5


def find_broken(examples: StreamedExamples) -> Iterator[str | None]:
  """Yields for each record, as they lie in the files, what is wrong with it, or None.

  Its index, its label and every pixel of its image are looked at, by as many threads as there are
  cores.

  Raises:
    DatasetError: a file cannot be read, is damaged, or is not what the index says.
  """

  def examine(record: tuple[int, bytes]) -> str | None:
    reason = examples.why_broken(*record)
    return reason and f"{examples.where(record[0])}: {reason}"

  for _, examining in map_ahead(examine, examples.records(), os.cpu_count() or 1):
    yield examining.result()


def check_images(dataset: Dataset) -> Iterator[None]:
  """Looks at every image of a data set that is streamed; yields once for each.

  What is held in memory was looked at when it was loaded.

  Raises:
    DatasetError: an image cannot be decoded, or a record is not what the index says, once all have
      been looked at; or a file is damaged.
  """
  if not isinstance(dataset, StreamedDataset):
    return
  broken = []
  for split in (dataset.train, dataset.test):
    for reason in find_broken(split):
      if reason:
        broken.append(reason)
      yield
  if broken:
    more = f"; … ({len(broken):,} in all)" if len(broken) > _SHOWN else ""
    raise DatasetError(f"{'; '.join(broken[:_SHOWN])}{more}: build it again with sound images")
