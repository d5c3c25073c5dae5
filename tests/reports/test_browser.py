"""The report in a real browser, driven through Chromium's DevTools pipe."""

import base64
import fcntl
import io
import json
import os
import select
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from reports import render_report

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="neither chromium nor google-chrome found")

FLAGS = (
  "--headless",
  "--no-sandbox",
  "--no-first-run",
  "--disable-gpu",
  "--disable-quic",
  "--disable-sync",
  "--disable-background-networking",
  "--disable-component-update",
  "--remote-debugging-pipe",
)
TIMEOUT_SECONDS = 60
WARNINGS = ["Runs 3 and 4 have one subset: <b>copied</b>?", "gs://bucket/" + "0123456789" * 30]
PHONE, DESKTOP = 390, 1280

# Contrast as defined by WCAG 2.2, of every element that has text of its own.
LOWEST_CONTRAST = """
(() => {
  const channels = (color) => color.match(/[\\d.]+/g).map(Number);
  const luminance = (color) => channels(color).slice(0, 3).map((c) => c / 255)
    .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const background = (element) => {
    const color = getComputedStyle(element).backgroundColor;
    return channels(color)[3] === 0 ? background(element.parentElement) : color;
  };
  const ratios = [...document.body.querySelectorAll("*")]
    .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
    .filter((e) => e.getClientRects().length)
    .map((e) => {
      const style = getComputedStyle(e);
      const text = luminance(e instanceof SVGElement ? style.fill : style.color);
      const behind = luminance(background(e));
      return (Math.max(text, behind) + 0.05) / (Math.min(text, behind) + 0.05);
    });
  return [ratios.length, Math.min(...ratios)];
})()
"""

FIGURE_TEXT_PIXELS = """
[...document.querySelectorAll("svg text")].filter((t) => t.getClientRects().length)
  .map((t) => [t.getScreenCTM(), parseFloat(getComputedStyle(t).fontSize)])
  .map(([matrix, size]) => size * Math.hypot(matrix.b, matrix.d))
"""

TEXT_OUTSIDE_FIGURE = """
[...document.querySelectorAll("svg text")].filter((t) => {
  const text = t.getBoundingClientRect(), svg = t.ownerSVGElement.getBoundingClientRect();
  return text.left < svg.left - 1 || text.right > svg.right + 1;
}).map((t) => t.textContent)
"""


class Browser:
  """One Chromium with one page."""

  def __init__(self, profile):
    command_end, self._commands = os.pipe()
    self._answers, answer_end = os.pipe()
    # Chromium reads commands from descriptor 3 and answers on 4; these copies lie above both.
    child_ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (command_end, answer_end)]

    def place_pipe():
      os.dup2(child_ends[0], 3)
      os.dup2(child_ends[1], 4)

    self._process = subprocess.Popen(
      [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
      preexec_fn=place_pipe,
      pass_fds=(3, 4),
      stdout=subprocess.DEVNULL,
      stderr=subprocess.DEVNULL,
    )
    for end in (command_end, answer_end, *child_ends):
      os.close(end)
    self._unread, self._sent, self._session, self.events = b"", 0, {}, []
    targets = self.send("Target.getTargets")["targetInfos"]
    (page,) = (target["targetId"] for target in targets if target["type"] == "page")
    answer = self.send("Target.attachToTarget", targetId=page, flatten=True)
    self._session = {"sessionId": answer["sessionId"]}
    self.send("Page.enable")
    self.send("Network.enable")

  def send(self, method, **params):
    self._sent += 1
    message = {"id": self._sent, "method": method, "params": params, **self._session}
    os.write(self._commands, json.dumps(message).encode() + b"\0")
    while (answer := self._receive()).get("id") != self._sent:
      self.events.append(answer)
    assert "error" not in answer, answer
    return answer["result"]

  def open(self, path, width, scheme):
    phone = width == PHONE
    self.send(
      "Emulation.setDeviceMetricsOverride",
      width=width,
      height=844,
      deviceScaleFactor=1,
      mobile=phone,
    )
    preference = {"name": "prefers-color-scheme", "value": scheme}
    self.send("Emulation.setEmulatedMedia", features=[preference])
    self.events.clear()
    self.send("Page.navigate", url=path.as_uri())
    while not any(event["method"] == "Page.loadEventFired" for event in self.events):
      self.events.append(self._receive())

  def evaluate(self, expression):
    answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
    assert "exceptionDetails" not in answer, answer
    return answer["result"]["value"]

  def screenshot(self):
    return Image.open(io.BytesIO(base64.b64decode(self.send("Page.captureScreenshot")["data"])))

  def close(self):
    self.send("Browser.close")
    self._process.wait(TIMEOUT_SECONDS)
    os.close(self._commands)
    os.close(self._answers)

  def _receive(self):
    while b"\0" not in self._unread:
      assert select.select([self._answers], [], [], TIMEOUT_SECONDS)[0], "Chromium does not answer"
      read = os.read(self._answers, 1 << 16)
      assert read, "Chromium has gone"
      self._unread += read
    message, self._unread = self._unread.split(b"\0", 1)
    return json.loads(message)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
  browser = Browser(tmp_path_factory.mktemp("profile"))
  yield browser
  browser.close()


@pytest.fixture(scope="module")
def report(tables, manifest, digits, tmp_path_factory):
  facts = {**manifest, "experiment": "gs://bucket/" + "a-long-name" * 20, "warnings": WARNINGS}
  path = tmp_path_factory.mktemp("report") / "report.html"
  path.write_text(render_report(tables, facts, digits), encoding="utf-8")
  return path


@pytest.fixture(params=[(w, s) for w in (PHONE, DESKTOP) for s in ("light", "dark")], ids=str)
def opened(request, browser, report):
  width, scheme = request.param
  browser.open(report, width, scheme)
  return browser, width, scheme


def test_nothing_is_wider_than_the_page(opened):
  browser, width, _ = opened
  assert browser.evaluate("innerWidth") == width
  assert browser.evaluate("document.documentElement.scrollWidth") <= width
  assert browser.evaluate("document.body.getBoundingClientRect().right") <= width
  assert browser.evaluate(TEXT_OUTSIDE_FIGURE) == []


def test_warnings_are_seen_without_scrolling(opened):
  browser, *_ = opened
  shown = browser.evaluate(
    "[...document.querySelectorAll('.warnings li')].map((li) => [li.innerText, "
    "li.getBoundingClientRect().top, li.getBoundingClientRect().bottom])"
  )
  assert [text for text, *_ in shown] == WARNINGS  # markup in them is text
  assert all(0 < top < bottom < 844 for _, top, bottom in shown)
  # A border in the color of warnings all around, where nothing else has one.
  style = browser.evaluate(
    "(({borderTopWidth, borderTopColor, color}) => [borderTopWidth, borderTopColor, color])"
    "(getComputedStyle(document.querySelector('.warnings')))"
  )
  assert style[0] == "2px"
  assert style[1] != style[2]


def test_only_the_document_itself_is_loaded(opened, report):
  browser, *_ = opened
  requests = [event for event in browser.events if event["method"] == "Network.requestWillBeSent"]
  urls = {event["params"]["request"]["url"] for event in requests}
  assert {url for url in urls if not url.startswith("data:")} == {report.as_uri()}


def test_every_picture_is_painted(opened):
  browser, *_ = opened
  widths = browser.evaluate("[...document.images].map((i) => i.naturalWidth)")
  assert len(widths) > 100
  assert set(widths) == {8}


def test_screenshot_has_the_color_scheme(opened):
  browser, width, scheme = opened
  picture = browser.screenshot().convert("L")
  assert picture.width == width
  # Most of the page is paper.
  paper = np.median(np.asarray(picture))
  assert paper < 40 if scheme == "dark" else paper > 240


def test_text_stands_out(opened):
  browser, *_ = opened
  elements, lowest = browser.evaluate(LOWEST_CONTRAST)
  assert elements > 500
  assert lowest >= 4.5


def test_figures_fit_the_width_and_stay_legible(opened):
  browser, width, _ = opened
  shown = browser.evaluate(
    "[...document.querySelectorAll('svg')].filter((s) => s.getClientRects().length)"
    ".map((s) => s.getAttribute('class'))"
  )
  assert shown == ["figure narrow" if width == PHONE else "figure wide"] * 3
  assert min(browser.evaluate(FIGURE_TEXT_PIXELS)) >= 11
