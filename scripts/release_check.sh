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
echo "checked: $(cd "$release" && echo *.whl *.tar.gz)"
