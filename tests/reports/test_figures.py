import re
import statistics
import xml.etree.ElementTree as ET

import pytest

from reports.columns import read_columns
from reports.figures import accuracy_figure, consistency_figure, memorization_figure
from reports.summaries import accuracy_per_ratio, consistency_profile, score_histogram


@pytest.fixture(scope="module")
def draw(tables):
  """Draws one of the figures of the campaign."""
  examples = read_columns(tables, "examples")
  counts, edges = score_histogram(examples["memorization"])
  profile = consistency_profile(examples, read_columns(tables, "cscores"))
  accuracies = accuracy_per_ratio(read_columns(tables, "runs"))
  return {
    "accuracy": lambda: accuracy_figure(accuracies),
    "memorization": lambda: memorization_figure(counts, edges, 0.25, 0.7),
    "consistency": lambda: consistency_figure(profile),
  }


def elements(markup):
  return list(ET.fromstring(f"<figure>{markup}</figure>"))


def texts(element):
  return [text.text for text in element.iter("text")]


@pytest.mark.parametrize(
  ("name", "x_label", "y_label", "others"),
  [
    ("accuracy", "subset ratio", "accuracy", ["0.3", "0.5", "0.7", "train", "removed", "test"]),
    (
      "memorization",
      "memorization at subset ratio 0.7",
      "training examples (log scale)",
      ["memorized (≥ 0.25)"],
    ),
    (
      "consistency",
      "subset ratio",
      "held-out accuracy",
      ["0%", "100%", "lowest 5%", "5–20%", "20–50%", "highest 50%", "all examples"],
    ),
  ],
)
def test_both_widths_have_labelled_axes(draw, name, x_label, y_label, others):
  wide, narrow = elements(draw[name]())
  assert wide.get("class") == "figure wide"
  assert narrow.get("class") == "figure narrow"
  for element in (wide, narrow):
    assert {x_label, y_label, *others} <= set(texts(element))
    assert element.get("role") == "img"
    assert element.get("aria-label")


@pytest.mark.parametrize("name", ["accuracy", "memorization", "consistency"])
def test_every_color_comes_from_the_page(draw, name):
  markup = str(draw[name]())
  assert not re.findall(r"#[0-9a-f]{6}\b", markup)
  for element in elements(markup):
    for text in element.iter("text"):
      assert "fill: var(--" in text.get("style")


def test_ids_are_unique_and_every_reference_has_its_target(draw):
  markup = "".join(str(figure()) for figure in draw.values())
  ids = re.findall(r' id="([^"]+)"', markup)
  references = set(re.findall(r'(?:url\(|href=")#([\w-]+)', markup))
  assert references == set(ids)
  assert len(ids) == len(set(ids)) > 0


@pytest.mark.parametrize("name", ["accuracy", "memorization", "consistency"])
def test_drawing_again_gives_the_same(draw, name):
  assert draw[name]() == draw[name]()


def test_description_states_the_values(draw, tables):
  (wide, _) = elements(draw["accuracy"]())
  runs = tables["runs"].to_pylist()
  mean = statistics.mean(row["accuracy_test"] for row in runs if row["subset_ratio"] == 0.7)
  assert "ratio 0.7: train 100.0%, removed" in wide.get("aria-label")
  assert f"test {mean:.1%}" in wide.get("aria-label")
