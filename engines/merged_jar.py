"""Makes one jar of a directory of jars, which starts a Java program.

    python engines/merged_jar.py MAIN_CLASS DIRECTORY JAR

Beam's job servers come from Maven as some seventy jars. They send a cluster all of them with each
job, which takes Flink 0.1 s for a file of whatever size. The jar also opens the packages of Java 17
that Flink and Spark reach into.
"""

from __future__ import annotations

import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

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

_MANIFEST = "META-INF/MANIFEST.MF"
_SERVICES = "META-INF/services/"
_SIGNATURES = (".SF", ".RSA", ".DSA", ".EC")  # of whole jars, which are no longer what was signed
_LINE_BYTES = 72  # of a manifest, at most, without the line break


def merge_jars(main_class: str, jars: Iterable[Path], merged: Path) -> None:
  """Writes a jar of all files of other jars; of files of one name, that of the first jar.

  Lists of services, which Java reads from all jars, are joined. Directories, which are entries of
  their own, stay: programs look for them.
  """
  attributes = {
    "Manifest-Version": "1.0",
    "Main-Class": main_class,
    "Multi-Release": "true",
    "Add-Opens": " ".join(f"java.base/{package}" for package in OPENED_PACKAGES),
  }
  services: dict[str, list[bytes]] = defaultdict(list)
  written = {_MANIFEST}
  with zipfile.ZipFile(merged, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
    archive.writestr(_MANIFEST, _manifest(attributes))
    for name, content in _files(jars):
      if name.startswith(_SERVICES) and not name.endswith("/"):
        services[name].append(content)
      elif name not in written:
        written.add(name)
        archive.writestr(name, content)
    for name, parts in services.items():
      archive.writestr(name, b"\n".join(parts))


def _files(jars: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
  for jar in jars:
    with zipfile.ZipFile(jar) as archive:
      for member in archive.infolist():
        path = PurePosixPath(member.filename)
        if path.parent.name != "META-INF" or path.suffix not in _SIGNATURES:
          yield member.filename, archive.read(member)


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
  merge_jars(name, sorted(Path(directory).glob("*.jar")), Path(output))
