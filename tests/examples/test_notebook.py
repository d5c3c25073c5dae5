"""The notebook, run from its first cell to its last."""

from pathlib import Path

import nbformat
import numpy as np
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "long_tail.ipynb"


def test_the_notebook_finds_each_training_image_and_draws_the_tail(tmp_path, monkeypatch):
  monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parents[1]))
  notebook = nbformat.read(NOTEBOOK, as_version=4)
  NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}}).execute()
  shown = [
    output["data"]
    for cell in notebook.cells
    for output in cell.get("outputs", ())
    if "data" in output
  ]
  assert any("1,437 of 1,797 images" in data.get("text/plain", "") for data in shown)
  assert np.sum(["image/png" in data for data in shown]) == 2
