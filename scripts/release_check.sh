#!/usr/bin/env bash
# Builds the sdist and, from it, the wheel; installs that into an environment of its own, with the
# locked versions; and uses it outside of the clone.
set -euo pipefail
cd "$(dirname "$0")/.."

uv=$PWD/.venv/bin/uv
release=$PWD/build/release
rm -rf "$release"
"$uv" build --quiet --out-dir "$release"
"$uv" venv --quiet --python .venv/bin/python "$release/venv"
"$uv" pip install --quiet --python "$release/venv/bin/python" --requirement requirements.txt "$release"/*.whl

.venv/bin/python - "$release"/*.whl <<'PYTHON'
import sys
import tomllib
import zipfile

with open("pyproject.toml", "rb") as text:
  include = tomllib.load(text)["tool"]["setuptools"]["packages"]["find"]["include"]
ours = {pattern.rstrip("*") for pattern in include}
found = {name.partition("/")[0] for name in zipfile.ZipFile(sys.argv[1]).namelist()}
strangers = sorted(name for name in found - ours if not name.endswith(".dist-info"))
assert not strangers, f"the wheel installs {strangers}, which are no packages of ours"
assert not ours - found, f"the wheel lacks {sorted(ours - found)}"
PYTHON

unset PYTHONPATH
cd "$(mktemp -d)"
PATH=$release/venv/bin:$PATH
heldout --version
heldout train --experiment=runs --dataset=digits --model=mlp_small --runs=0:4 --epochs=2
heldout score --experiment=runs --scores=scores --dataset=digits
heldout report --scores=scores --dataset=digits --output=report.html >/dev/null
python - "$release/venv" <<'PYTHON'
import sys

import heldout

assert heldout.__file__.startswith(sys.argv[1]), f"{heldout.__file__} is not of the wheel"
assert heldout.read_scores("scores").table("examples").num_rows == 1437
PYTHON
# A package of somebody's, of a name of ours, is said where it would be taken for ours.
mkdir models
touch models/__init__.py
heldout inspect --experiment=runs >/dev/null
for program in "-m beam_pipelines.inspect --experiment=runs" "-c import\ heldout"; do
  if eval "python $program" 2>error >/dev/null || ! grep -q "hides Heldout's package models" error; then
    echo "release-check: python $program does not say that models/ is another package" >&2
    exit 1
  fi
done
echo "checked: $(cd "$release" && echo *.whl *.tar.gz)"
