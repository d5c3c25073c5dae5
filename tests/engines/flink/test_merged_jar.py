"""One jar of several: what Java reads from all of them is joined."""

import zipfile

from engines.merged_jar import merge_jars


def _jar(path, files):
  with zipfile.ZipFile(path, "w") as archive:
    for name, content in files.items():
      archive.writestr(name, content)
  return path


def test_files_of_all_jars_are_there_once_and_lists_of_services_are_joined(tmp_path):
  first = {
    "META-INF/MANIFEST.MF": "Main-Class: other",
    "META-INF/BC.SF": "signature",
    "META-INF/services/a.Service": "a.One",
    "a/": "",
    "a/One.class": "one",
    "x": "of the first",
  }
  second = {"META-INF/services/a.Service": "a.Two", "a/": "", "a/Two.class": "two", "x": "other"}
  jars = [_jar(tmp_path / "1.jar", first), _jar(tmp_path / "2.jar", second)]
  merge_jars("a.Main", jars, tmp_path / "merged.jar")
  with zipfile.ZipFile(tmp_path / "merged.jar") as archive:
    names = archive.namelist()
    content = {name: archive.read(name).decode() for name in names}
  assert len(names) == len(set(names))
  manifest = content.pop("META-INF/MANIFEST.MF")
  assert "Main-Class: a.Main\r\n" in manifest
  assert "Add-Opens: java.base/java.io " in manifest
  assert all(len(line) <= 72 for line in manifest.split("\r\n"))
  assert content == {
    "META-INF/services/a.Service": "a.One\na.Two",
    "a/": "",
    "a/One.class": "one",
    "a/Two.class": "two",
    "x": "of the first",
  }
