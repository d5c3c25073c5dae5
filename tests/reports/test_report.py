import base64
import dataclasses
import html.parser
import io
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from PIL import Image

from reports import REPORT_TABLES, ReportError, render_report

VOID = {"br", "img", "link", "meta", "wbr"}
PAPERS = {"https://arxiv.org/abs/2008.03703", "https://arxiv.org/abs/2002.03206"}


class Page(html.parser.HTMLParser):
  """Reads a document, insisting that every element is closed in its turn."""

  def __init__(self, document):
    super().__init__()
    self.open, self.elements, self.words, self.ids = [], [], [], []
    self.feed(document)
    self.close()
    assert self.open == []
    self.text = " ".join(" ".join(self.words).split())

  def handle_starttag(self, tag, attrs):
    self.handle_startendtag(tag, attrs)
    if tag not in VOID:
      self.open.append(tag)

  def handle_startendtag(self, tag, attrs):
    assert len({name for name, _ in attrs}) == len(attrs)
    self.elements.append((tag, dict(attrs)))
    self.ids += [value for name, value in attrs if name == "id"]

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    if not self.open or self.open[-1] != "style":
      self.words.append(data)

  def all(self, tag):
    return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def document(tables, manifest, digits):
  return render_report(tables, manifest, digits)


@pytest.fixture(scope="module")
def page(document):
  return Page(document)


def section(document, name):
  """The text of one section, without its pictures."""
  found = re.search(rf'<section id="{name}">(.*?)</section>', document, re.DOTALL)
  return Page(found[1]).text


def pictures(document):
  """`(split, example, label, score)` of every picture, from its alternative text and caption."""
  found = re.findall(
    r'alt="(training|test) example (\d+), labelled ([^"]+)">.*?</span>(−?[\d.]+).*?'
    r'<span class="which">#(\d+) <span class="label">([^<]+)</span>',
    document,
    re.DOTALL,
  )
  for _, example, label, _, shown_example, shown_label in found:
    assert (example, label) == (shown_example, shown_label)
  return [(split, int(example), label, score) for split, example, label, score, _, _ in found]


def test_document_has_one_of_each_heading_and_unique_ids(document, page):
  assert document.startswith("<!doctype html>")
  assert [len(page.all(tag)) for tag in ("html", "title", "h1", "main", "nav")] == [1] * 5
  assert len(page.ids) == len(set(page.ids))
  sections = [attributes["id"] for attributes in page.all("section")]
  links = [a["href"][1:] for a in page.all("a") if a["href"].startswith("#")]
  assert links == ["content", *sections]


def test_document_loads_nothing(document, page):
  outside = set()
  for tag, attributes in page.elements:
    for name in ("src", "href", "srcset", "data", "action", "poster"):
      target = attributes.get(name, "")
      if target.startswith(("data:", "#")) or not target:
        continue
      assert (tag, name) == ("a", "href")
      outside.add(target)
  assert outside == PAPERS
  assert "@import" not in document
  assert set(re.findall(r"url\(([^)]*)\)", document)) <= {f"#{name}" for name in page.ids}
  assert not page.all("script")


def test_every_picture_has_its_index_and_label(document, page, digits):
  shown = pictures(document)
  assert len(shown) == len(page.all("img")) > 100
  for (split, example, label, _), attributes in zip(shown, page.all("img"), strict=True):
    examples = digits.train if split == "training" else digits.test
    assert label == str(examples.labels[example])
    png = base64.b64decode(attributes["src"].removeprefix("data:image/png;base64,"))
    expected = np.rint(examples.images[example, ..., 0] / 16 * 255)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), expected)


def test_opening_names_the_most_memorized_example(page, tables):
  rows = [row for row in tables["examples"].to_pylist() if row["subset_ratio"] == 0.7]
  top = min(rows, key=lambda row: (-row["memorization"], row["example"]))
  memorized = sum(row["memorization"] >= 0.25 for row in rows)
  assert "64 networks were trained" in page.text
  assert "at 3 subset ratios from 0.3 to 0.7" in page.text
  assert f"{memorized} of 400 training examples" in page.text
  assert f"The most memorized is #{top['example']}, labelled {top['label']}" in page.text


def test_most_memorized_and_lowest_cscores_of_a_class(document, tables):
  memorization = document[document.index('id="memorization"') : document.index('id="influence"')]
  rows = [row for row in tables["examples"].to_pylist() if row["subset_ratio"] == 0.7]
  shown = [example for _, example, label, _ in pictures(memorization) if label == "8"]
  rows = [row for row in rows if row["label"] == 8 and row["memorization"] > 0.1]
  rows.sort(key=lambda row: (-row["memorization"], row["example"]))
  assert shown == [row["example"] for row in rows][:10]

  consistency = document[document.index('id="consistency"') : document.index('id="reliability"')]
  rows = [row for row in tables["cscores"].to_pylist() if row["label"] == 8]
  lowest = sorted(rows, key=lambda row: (row["cscore"], row["example"]))[:5]
  highest = sorted(rows, key=lambda row: (-row["cscore"], row["example"]))[:5]
  assert [
    (example, score) for _, example, label, score in pictures(consistency) if label == "8"
  ] == [(row["example"], f"{row['cscore']:.2f}") for row in lowest + highest]


def test_carriers_come_with_their_test_examples(document, tables):
  influence = document[document.index('id="influence"') : document.index('id="consistency"')]
  rows = [row for row in tables["influence"].to_pylist() if row["subset_ratio"] == 0.7]
  assert rows
  totals = {}
  for row in rows:
    totals[row["train_example"]] = totals.get(row["train_example"], 0) + row["influence"]
  shown = pictures(influence)
  carriers = [example for split, example, _, _ in shown if split == "training"]
  assert carriers == sorted(totals, key=lambda example: (-totals[example], example))[:24]
  first = sorted(
    (row for row in rows if row["train_example"] == carriers[0]),
    key=lambda row: (-row["influence"], row["test_example"]),
  )[:6]
  assert shown[1 : 1 + len(first)] == [
    ("test", row["test_example"], str(row["test_label"]), f"{row['influence']:.2f}")
    for row in first
  ]


def test_tables_that_are_read_are_named(document, tables, manifest, digits):
  named = {name: tables[name] for name in REPORT_TABLES}
  assert render_report(named, manifest, digits) == document


def test_facts_of_the_manifest_are_stated(document):
  reliability = section(document, "reliability")
  assert "0.7 40 0.80 0.89 –" in reliability
  made = section(document, "made")
  for fact in ("experiments/knn", "5 March 2026, 14:02 UTC", "64 used, 2 skipped", "heldout 0.1.0"):
    assert fact in made


def test_skipped_inputs_are_listed_by_path(document):
  text = section(document, "skipped")
  assert "2 inputs were not used" in text
  assert text.endswith("knn/0.3/12 indices repeat knn/0.7/40 no aux_arrays.npz")


def test_long_list_of_skipped_inputs_is_closed_and_cut(tables, manifest, digits):
  paths = [f"knn/0.7/{run:04}" for run in range(300)]
  skipped = pa.table({"path": paths, "reason": ["no aux_arrays.npz"] * 300})
  document = render_report({**tables, "skipped": skipped}, manifest, digits)
  assert "<details>" in document
  assert section(document, "skipped").endswith("and 100 more, in the table skipped")


def test_order_of_rows_does_not_matter(document, tables, manifest, digits):
  rng = np.random.default_rng(1)
  shuffled = {name: table.take(rng.permutation(len(table))) for name, table in tables.items()}
  again = render_report(shuffled, manifest, digits)
  # Sums of floating-point numbers depend on their order in the last digit; figures print six.
  assert re.sub(r"\d+\.\d{4,}", "", again) == re.sub(r"\d+\.\d{4,}", "", document)


def test_same_arguments_give_the_same_document(document, tables, manifest, digits):
  assert render_report(tables, manifest, digits) == document


def test_no_tables_at_all(digits):
  document = render_report({}, {}, digits)
  page = Page(document)
  assert "No run was scored" in page.text
  assert "There is no run, so there is no accuracy to show." in section(document, "accuracy")
  assert "There is no run, so there is no memorization" in section(document, "memorization")
  assert "No pair of a training and a test example was selected." in section(document, "influence")
  assert "No C-score is defined" in section(document, "consistency")
  assert "holds no split-half reliability" in section(document, "reliability")
  assert "None: every input was used." in section(document, "skipped")
  assert not page.all("img")
  assert not page.all("svg")


def test_one_ratio(tables, manifest, digits):
  chosen = {
    name: table.filter(pc.equal(table["subset_ratio"], 0.7))
    if "subset_ratio" in table.column_names
    else table
    for name, table in tables.items()
  }
  document = render_report(chosen, manifest, digits)
  Page(document)
  assert "All runs have the same subset ratio" in section(document, "accuracy")
  assert "There is one subset ratio, so the C-score is" in section(document, "consistency")
  assert "at subset ratio 0.7. Comparing" in Page(document).text
  assert document.count("<svg") == 2  # the histogram, in both widths


def test_no_pair_selected(tables, manifest, digits):
  pairs = tables["influence"]
  nothing = render_report({**tables, "influence": pairs.slice(0, 0)}, manifest, digits)
  text = section(nothing, "influence")
  assert "No pair of a training and a test example was selected at subset ratio 0.7" in text
  assert "influence of 0.15 or more, memorization of 0.25 or more, same class" in text
  assert "other ratios" not in text

  elsewhere = pairs.filter(pc.not_equal(pairs["subset_ratio"], 0.7))
  text = section(render_report({**tables, "influence": elsewhere}, manifest, digits), "influence")
  at_5 = pc.sum(pc.equal(pairs["subset_ratio"], 0.5)).as_py()
  assert f"{at_5} at 0.5" in text


def test_criteria_of_the_pairs_follow_the_options(tables, manifest, digits):
  options = {"pairs": "all", "min_influence": 0.1, "min_memorization": None, "top_k": 3}
  document = render_report(tables, {**manifest, "options": options}, digits)
  text = section(document, "influence")
  assert "selected (influence of 0.1 or more, among the 3 largest of either example):" in text


def test_undefined_scores(tables, manifest, digits):
  undefined = dict(tables)
  for name, columns in {
    "examples": ("memorization", "memorization_se", "consistency"),
    "cscores": ("cscore", "cscore_se"),
    "runs": ("accuracy_removed",),
  }.items():
    for column in columns:
      position = undefined[name].column_names.index(column)
      nulls = pa.nulls(len(undefined[name]), pa.float64())
      undefined[name] = undefined[name].set_column(position, column, nulls)
  document = render_report(undefined, manifest, digits)
  page = Page(document)
  assert "Memorization is undefined for every example" in section(document, "memorization")
  assert "No C-score is defined" in section(document, "consistency")
  assert "nan" not in page.text.lower()
  assert "removed –, test" in page.all("svg")[0]["aria-label"]
  assert re.search(r"0\.7 40 280 100\.0% ±0\.0 – \d", section(document, "accuracy"))


def test_tables_without_labels_take_the_data_sets(document, tables, manifest, digits):
  unlabelled = dict(tables)
  for name, columns in {
    "examples": ["label"],
    "cscores": ["label"],
    "influence": ["train_label", "test_label"],
  }.items():
    for column in columns:
      position = unlabelled[name].column_names.index(column)
      nulls = pa.nulls(len(unlabelled[name]), pa.int64())
      unlabelled[name] = unlabelled[name].set_column(position, column, nulls)
  assert render_report(unlabelled, manifest, digits) == document


def test_class_with_few_examples_shows_each_once(tables, manifest, digits):
  few = tables["cscores"].filter(pc.less(tables["cscores"]["example"], 60))
  document = render_report({**tables, "cscores": few}, manifest, digits)
  consistency = document[document.index('id="consistency"') : document.index('id="reliability"')]
  shown = [example for _, example, _, _ in pictures(consistency)]
  assert len(shown) == len(set(shown)) > 40


def test_class_without_memorized_examples_says_so(tables, manifest, digits):
  examples = tables["examples"]
  zero = pc.if_else(pc.equal(examples["label"], 4), 0.0, examples["memorization"])
  position = examples.column_names.index("memorization")
  examples = examples.set_column(position, "memorization", zero)
  document = render_report({**tables, "examples": examples}, manifest, digits)
  text = section(document, "memorization")
  assert re.search(r"0 of \d+ memorized No example of this class has a memorization above", text)


def test_hostile_strings_stay_text(tables, manifest, digits):
  hostile = '"><script>alert(1)</script>'
  skipped = pa.table({"path": [f"a/{hostile}"], "reason": [hostile]})
  marked = dataclasses.replace(digits, class_names=(hostile,) * 10)
  facts = {**manifest, "experiment": hostile, "dataset": hostile, "versions": {hostile: hostile}}
  facts |= {
    "warnings": [hostile],
    "created": hostile,
    "options": {**manifest["options"], hostile: hostile},
  }
  document = render_report({**tables, "skipped": skipped}, facts, marked)
  assert "<script" not in document
  page = Page(document)
  assert page.text.count(hostile) > 10
  assert f"labelled {hostile}" in page.all("img")[0]["alt"]


def test_scores_of_another_data_set_are_refused(tables, manifest, digits):
  other = dataclasses.replace(digits, train=digits.test)
  with pytest.raises(ReportError, match=r"examples: example 200 is not among the data set's 200"):
    render_report(tables, manifest, other)


def test_many_classes_of_color_images_stay_small(tables, manifest, digits):
  rng = np.random.default_rng(0)
  size, classes = 20_000, 100
  labels = rng.integers(classes, size=size)
  split = dataclasses.replace(
    digits.train,
    images=rng.integers(256, size=(size, 32, 32, 3), dtype=np.uint8),  # hardest to compress
    labels=labels,
  )
  dataset = dataclasses.replace(
    digits, train=split, test=split, pixel_max=255.0, class_names=tuple(map(str, range(classes)))
  )
  columns = {name: table.slice(0, 0) for name, table in tables.items()}
  scores = rng.random(size)
  constant = {
    "runs_in": 700,
    "runs_out": 300,
    "correct_in": 700,
    "correct_out": 100,
    "memorization_se": 0.02,
    "subset_ratio": 0.7,
  }
  columns["examples"] = pa.table(
    {name: np.full(size, value) for name, value in constant.items()}
    | {"example": np.arange(size), "label": labels, "memorization": scores, "consistency": scores}
  )
  columns["cscores"] = pa.table(
    {
      "example": np.arange(size),
      "label": labels,
      "cscore": scores,
      "cscore_se": np.full(size, 0.02),
    }
  )
  train, test = rng.integers(40, size=2000), rng.integers(size, size=2000)
  columns["influence"] = pa.table(
    {
      "subset_ratio": np.full(2000, 0.7),
      "train_example": train,
      "test_example": test,
      "train_label": labels[train],
      "test_label": labels[test],
      "influence": rng.random(2000),
      "influence_se": np.full(2000, 0.03),
      "memorization": scores[train],
    }
  )
  columns["runs"] = tables["runs"]
  document = render_report(columns, manifest, dataset)
  assert "Of 100 classes, the 12 with the highest mean memorization are shown." in document
  assert "the first 24 are shown" in document
  assert len(pictures(document)) == 1 + 12 * 10 + 24 * 7 + 12 * 10
  assert len(document) < 5_000_000


@pytest.mark.parametrize(
  ("warnings", "heading"), [(["One."], "Warning:"), (["One.", "Two & three."], "Warnings:")]
)
def test_warnings_stand_before_everything_else(tables, manifest, digits, warnings, heading):
  text = Page(render_report(tables, {**manifest, "warnings": warnings}, digits)).text
  assert f"{heading} these scores may not mean what they seem to. {' '.join(warnings)}" in text
  assert text.index(warnings[-1]) < text.index("64 networks were trained")


@pytest.mark.parametrize("warnings", [[], None])
def test_without_warnings_there_is_no_place_for_them(document, tables, manifest, digits, warnings):
  assert "Warning" not in Page(document).text
  assert render_report(tables, {**manifest, "warnings": warnings}, digits) == document


@pytest.mark.parametrize(("by_chance", "mostly"), [(0.2, False), (1e6, True)])
def test_pairs_by_chance_are_stated(tables, manifest, digits, by_chance, mostly):
  ratios = [{"subset_ratio": 0.7, "runs": 40, "expected_false_pairs": by_chance}]
  document = render_report(tables, {**manifest, "ratios": ratios}, digits)
  assert f"about {by_chance:,.0f} pairs would pass these thresholds by chance" in document
  assert ("most of these pairs mean nothing" in document) == mostly
