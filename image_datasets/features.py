"""What the features of a set's records are called."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class FeatureNames:
  """The features that are read, by default those of `heldout build-tfrecords`.

  Attributes:
    index: the example's index; None: examples are counted as they lie, file by file.
    label: the class.
    image: the encoded image.
    first_label: the label of the first class: what is subtracted to count from 0.
    name: what the example is called, where records say it.
  """

  index: str | None = "index"
  label: str = "image/class/label"
  image: str = "image/encoded"
  first_label: int = 1
  name: str = "image/filename"

  def __str__(self) -> str:
    called = "" if self.name == FeatureNames.name else f", called {self.name}"
    return f"{self.index}, {self.label} from {self.first_label}{called}"
