"""Prints the figure of docs/design.md, from outcome bits to published tables, as SVG.

python scripts/draw_design.py > docs/design.svg
"""

import random
from collections.abc import Iterator, Sequence
from html import escape

WIDTH, HEIGHT = 960, 1084

STYLE = """
  svg { --paper: #fbfaf7; --card: #ffffff; --ink: #20242a; --muted: #5c636d; --line: #d9d4c8;
        --cool: #17707c; --warm: #b9532b; --plum: #6f579f; }
  @media (prefers-color-scheme: dark) {
    svg { --paper: #15181b; --card: #20252a; --ink: #e6e3dc; --muted: #a0a6ad; --line: #3a4147;
          --cool: #6fc1cb; --warm: #eb9a72; --plum: #b7a3e3; }
  }
  text { font: 14px system-ui, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif;
         fill: var(--ink); }
  .place { font-size: 13px; font-weight: 600; fill: var(--muted); }
  .step { font-weight: 600; font-size: 15px; }
  .small { font-size: 12.5px; fill: var(--muted); }
  .code { font: 12px ui-monospace, "DejaVu Sans Mono", monospace; fill: var(--cool); }
  .side { fill: var(--plum); }
  .followed { fill: var(--warm); }
  .band { fill: var(--paper); stroke: var(--line); }
  .box { fill: var(--card); stroke: var(--ink); stroke-width: 1.2; }
  .arrow { fill: none; stroke: var(--ink); stroke-width: 1.4; }
  .arrow.test { stroke: var(--plum); stroke-dasharray: 5 4; }
  .head { fill: var(--ink); }
  .head.test { fill: var(--plum); }
  .bit { fill: var(--line); }
  .set { fill: var(--cool); }
  .run { fill: var(--warm); }
  .unset-run { fill: var(--warm); opacity: 0.3; }
  .frame { fill: none; stroke: var(--muted); }
"""

# The outcomes that the figure shows: runs × examples, one run of which is followed.
RUNS, TRAIN, TEST, BLOCK = 8, 12, 6, 4
FOLLOWED = 2
CELL = 11


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
  """Words at a place."""
  return f'<text x="{x}" y="{y}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def band(y: float, height: float, place: str) -> Iterator[str]:
  """Where the steps inside it run."""
  yield f'<rect class="band" x="12" y="{y}" width="{WIDTH - 24}" height="{height}" rx="10"/>'
  yield text(28, y + 24, place, "place")


def box(x: float, y: float, width: float, height: float, step: str, *lines: str) -> Iterator[str]:
  """A step and, below its name, some lines about it."""
  yield f'<rect class="box" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>'
  top = y + height / 2 + 5 - 9 * len(lines)
  yield text(x + width / 2, top, step, "step", "middle")
  for number, line in enumerate(lines, 1):
    yield text(x + width / 2, top + 18 * number, line, "small", "middle")


def arrow(*points: tuple[float, float], kind: str = "") -> str:
  """A line through points, with a head at the last, which it reaches from above or the left."""
  (x0, _), (x, y) = points[-2:]
  back = ((-5, -9), (5, -9)) if x0 == x else ((-9, -5), (-9, 5))
  head = " ".join([f"{x},{y}", *(f"{x + dx},{y + dy}" for dx, dy in back)])
  return line(*points, kind=kind) + f'<polygon class="head {kind}" points="{head}"/>'


def line(*points: tuple[float, float], kind: str = "") -> str:
  """A line through points."""
  path = " ".join(f"{x},{y}" for x, y in points)
  return f'<polyline class="arrow {kind}" points="{path}"/>'


def bits(x: float, y: float, rows: Sequence[Sequence[bool]], followed: str) -> Iterator[str]:
  """A grid of bits; those of the followed run, a row or a column, are set off."""
  for i, row in enumerate(rows):
    for j, value in enumerate(row):
      ours = (i if followed == "row" else j) == FOLLOWED
      kind = ("run" if value else "unset-run") if ours else ("set" if value else "bit")
      place = f'x="{x + CELL * j}" y="{y + CELL * i}" width="{CELL - 2}" height="{CELL - 2}"'
      yield f'<rect class="{kind}" {place}/>'
  width, height = CELL * len(rows[0]) + 4, CELL * len(rows) + 4
  yield f'<rect class="frame" x="{x - 3}" y="{y - 3}" width="{width}" height="{height}" rx="2"/>'


def transposed(rows: Sequence[Sequence[bool]]) -> list[tuple[bool, ...]]:
  """Columns as rows."""
  return list(zip(*rows, strict=True))


def outcomes(y: float) -> Iterator[str]:
  """The same bits by run and by example."""
  draw = random.Random(5)
  member, right, test = (
    [[draw.random() < share for _ in range(examples)] for _ in range(RUNS)]
    for share, examples in ((0.7, TRAIN), (0.75, TRAIN), (0.65, TEST))
  )
  x = 44
  for name, rows in (("in_subset", member), ("train_correct", right), ("test_correct", test)):
    yield text(x - 2, y - 12, name, "code")
    yield from bits(x, y, rows, "row")
    x += CELL * len(rows[0]) + 14
  yield text(42, y + 112, "A row per run: for CIFAR, 14 KB", "small")
  yield text(270, y + 112, "(one run is orange)", "small followed")
  yield text(42, y + 132, "uint8 [⌈train/8⌉], [⌈train/8⌉], [⌈test/8⌉]", "code")

  yield arrow((416, y + 44), (566, y + 44))
  yield text(490, y - 2, "Pack runs", "step", "middle")
  yield text(490, y + 17, "cut, shuffle by block,", "small", "middle")
  yield text(490, y + 34, "transpose", "small", "middle")

  x = 592
  for name, rows in (("member", member), ("correct", right)):
    yield text(x - 2, y - 34, name, "code")
    for block in range(TRAIN // BLOCK):
      some = transposed(rows)[block * BLOCK : (block + 1) * BLOCK]
      yield from bits(x, y - 22 + block * (CELL * BLOCK + 10), some, "column")
    x += CELL * RUNS + 14
  yield text(x + 22, y - 34, "correct", "code side")
  yield from bits(x + 24, y - 22, transposed(test), "column")
  yield text(x + 22, y + 66, "test set", "small side")
  yield text(x + 22, y + 86, "uint64", "code side")
  yield text(x + 22, y + 103, "[test, ⌈runs/64⌉]", "code side")
  yield text(590, y + 156, "A row per example, a bit per run", "small")
  yield text(590, y + 175, "uint64 [block, ⌈runs/64⌉] twice", "code")


def scoring(y: float) -> Iterator[str]:
  """What is made of each block, down to the row of boxes at y."""
  yield line((690, y - 60), (690, y - 36), (138, y - 36))
  yield line((690, y - 36), (822, y - 36))
  yield line((872, y - 126), (872, y - 22), (388, y - 22), kind="test")
  yield text(44, y - 14, "every block", "small")
  yield text(880, y - 60, "as a", "small side")
  yield text(880, y - 44, "side", "small side")
  yield text(880, y - 28, "input", "small side")
  for x, step, words in (
    (40, "Count", "who got what right"),
    (268, "Select pairs", "co-occurrence, thresholds"),
    (496, "Fill the matrix", "on request"),
    (724, "Compare halves", "of the runs"),
  ):
    yield arrow((x + 98, y - 36), (x + 98, y))
    if step != "Count":
      yield arrow((x + 122, y - 22), (x + 122, y), kind="test")
    yield from box(x, y, 196, 56, step, words)

  yield arrow((138, y + 56), (138, y + 118))
  yield text(148, y + 80, "int32 [block]", "code")
  yield text(148, y + 97, "four counts", "code")
  yield arrow((366, y + 56), (366, y + 118))
  yield text(376, y + 80, "int64 [pairs] twice", "code")
  yield text(376, y + 97, "int32 [pairs] four", "code")
  yield from box(40, y + 118, 424, 40, "Tabulate scores and standard errors")
  yield arrow((252, y + 158), (252, y + 206))
  yield text(262, y + 186, "an Arrow table and a name", "code")
  yield arrow((594, y + 56), (594, y + 206))
  yield text(604, y + 80, "float32", "code")
  yield text(604, y + 97, "[block, test]", "code")
  yield text(832, y + 80, "moments,", "code")
  yield text(832, y + 97, "overlap", "code")


def figure() -> Iterator[str]:
  """All elements, those behind first."""
  yield from band(12, 100, "The client")
  yield from band(124, 740, "Workers: threads, processes or machines")
  yield from band(876, 196, "One worker")

  yield from box(370, 32, 220, 60, "List runs", "in one flat listing")
  yield arrow((480, 92), (480, 172))
  yield text(492, 154, "path, (ratio, run), file names", "code")
  yield from box(250, 172, 460, 56, "Read the recorded outcome", "or evaluate the checkpoint")
  yield arrow((480, 228), (480, 256), (206, 256), (206, 292))
  yield text(216, 248, "an outcome per run", "small")
  yield from outcomes(324)
  yield from scoring(576)

  yield from box(
    40,
    782,
    652,
    56,
    "Stage",
    "scores/.staging-JOB/…: done twice, the same files under the same names",
  )
  yield arrow((166, 838), (166, 942))
  yield text(176, 926, "all staged: table, name, rows, bytes, digest", "code")
  yield arrow((822, 632), (822, 942))
  yield text(812, 926, "reliability of each ratio", "code", "end")
  for x, step, words, written in (
    (40, "Check", "every run, every part", "nothing yet"),
    (276, "Claim", "say what is to be", "publication.json"),
    (512, "Rename into place", "readers refuse", "TABLE/*.parquet"),
    (748, "Switch over", "readers see it whole", "manifest.json"),
  ):
    yield from box(x, 942, 172, 60, step, words)
    yield text(x + 86, 1036, written, "code", "middle")
    if x > 40:
      yield arrow((x - 64, 972), (x, 972))


def main() -> None:
  """Prints the figure."""
  print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">')
  print("<title>From outcome bits to published score tables</title>")
  print(f"<style>{STYLE}</style>")
  for element in figure():
    print(element)
  print("</svg>")


if __name__ == "__main__":
  main()
