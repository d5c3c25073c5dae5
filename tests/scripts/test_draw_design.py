import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"


def _figure():
  return (ROOT / "docs" / "design.svg").read_text()


def test_the_figure_is_what_the_script_draws():
  command = [sys.executable, str(ROOT / "scripts" / "draw_design.py")]
  drawn = subprocess.run(command, capture_output=True, check=True).stdout.decode()
  assert drawn == _figure()


def test_nothing_lies_outside_the_figure():
  root = ElementTree.fromstring(_figure())
  _, _, width, height = map(float, root.get("viewBox").split())
  boxes = list(root.iter(f"{SVG}rect"))
  assert boxes
  for box in boxes:
    x, y, w, h = (float(box.get(name)) for name in ("x", "y", "width", "height"))
    assert 0 <= x < x + w <= width
    assert 0 <= y < y + h <= height
  for shape in [*root.iter(f"{SVG}polyline"), *root.iter(f"{SVG}polygon")]:
    for x, y in re.findall(r"([\d.]+),([\d.]+)", shape.get("points")):
      assert 0 <= float(x) <= width
      assert 0 <= float(y) <= height


def test_the_page_shows_it():
  assert "](design.svg)" in (ROOT / "docs" / "design.md").read_text()
  for page in ("README.md", "CONTRIBUTING.md"):
    assert "docs/design.md" in (ROOT / page).read_text()
