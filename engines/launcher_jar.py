"""Makes a jar that starts a Java program from a directory of jars: nothing but a manifest.

    python engines/launcher_jar.py MAIN_CLASS DIRECTORY JAR

What Beam calls a job server's jar is one file; Maven brings a hundred. This one names the others,
and opens the packages of Java 17 that Flink and Spark reach into.
"""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

OPENED_PACKAGES = (
  "java.io",
  "java.lang",
  "java.lang.invoke",
  "java.lang.reflect",
  "java.net",
  "java.nio",
  "java.text",
  "java.time",
  "java.util",
  "java.util.concurrent",
  "java.util.concurrent.atomic",
  "java.util.concurrent.locks",
  "java.util.regex",
  "sun.nio.ch",
  "sun.nio.cs",
  "sun.security.action",
  "sun.util.calendar",
)

_LINE_BYTES = 72  # of a manifest, at most, without the line break


def write_launcher(main_class: str, jars: Iterable[Path], launcher: Path) -> None:
  """Writes a jar that runs a class out of other jars, which it names relative to itself."""
  directory = launcher.parent.resolve()
  class_path = (Path(os.path.relpath(jar.resolve(), directory)).as_posix() for jar in jars)
  attributes = {
    "Manifest-Version": "1.0",
    "Main-Class": main_class,
    "Class-Path": " ".join(class_path),
    "Add-Opens": " ".join(f"java.base/{package}" for package in OPENED_PACKAGES),
  }
  with zipfile.ZipFile(launcher, "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr("META-INF/MANIFEST.MF", _manifest(attributes))


def _manifest(attributes: Mapping[str, str]) -> str:
  lines = [f"{name}: {value}" for name, value in attributes.items()]
  return "".join(f"{part}\r\n" for line in lines for part in _folded(line)) + "\r\n"


def _folded(line: str) -> Iterable[str]:
  yield line[:_LINE_BYTES]
  width = _LINE_BYTES - 1  # after the space that says that a line goes on
  for start in range(_LINE_BYTES, len(line), width):
    yield " " + line[start : start + width]


if __name__ == "__main__":
  name, directory, output = sys.argv[1:]
  write_launcher(name, sorted(Path(directory).glob("*.jar")), Path(output))
