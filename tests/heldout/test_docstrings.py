"""The examples in docstrings run, and give what they say."""

import doctest
import importlib
import pkgutil

import heldout

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def test_every_example_in_a_docstring_runs(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  modules = [info.name for info in pkgutil.iter_modules(heldout.__path__, "heldout.")]
  tried = 0
  for name in ["heldout", *sorted(modules)]:  # the first makes the scores that the others read
    result = doctest.testmod(importlib.import_module(name), optionflags=OPTIONS)
    assert result.failed == 0
    tried += result.attempted
  assert tried >= 10


def test_everything_public_says_what_it_is():
  for name in set(heldout.__all__) - {"TableName"}:  # types of types have no docstring of their own
    assert getattr(heldout, name).__doc__, name
