"""Takes the picture of the README: two places of the report of `make demo`, side by side.

  python scripts/screenshot.py demo/report.html docs/report.png

Needs Chromium.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

WIDTH, HEIGHT = 765, 885
TOPS = (0, 1955)  # pixels at which the columns begin; the second at the most memorized
SCALE = 0.85
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")


def main(report: str, output: str) -> None:
  """Writes the picture of a report, both given by their paths."""
  chromium = shutil.which("chromium") or shutil.which("google-chrome")
  if chromium is None:
    raise SystemExit("neither chromium nor google-chrome found")
  size = f"{round(WIDTH / SCALE)},{round((TOPS[-1] + HEIGHT) / SCALE)}"
  picture = Image.new("RGB", (WIDTH * len(TOPS), HEIGHT))
  with tempfile.TemporaryDirectory() as directory:
    shot = Path(directory, "report.png")
    flags = (
      f"--window-size={size}",
      f"--force-device-scale-factor={SCALE}",
      f"--screenshot={shot}",
    )
    url = Path(report).resolve().as_uri()
    subprocess.run([chromium, *FLAGS, *flags, url], check=True, capture_output=True)
    with Image.open(shot) as image:
      for column, top in enumerate(TOPS):
        part = image.crop((0, top, WIDTH, top + HEIGHT))
        picture.paste(part, (WIDTH * column, 0))
  picture.save(output, optimize=True)


if __name__ == "__main__":
  main(*sys.argv[1:])
