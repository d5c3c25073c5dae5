"""Trains with PyTorch on the subsets that runs of Heldout would have, and imports the margins.

python examples/train_with_pytorch.py DIRECTORY 50
"""

import sys
from pathlib import Path

import numpy as np
import torch

import heldout

directory, runs = Path(sys.argv[1]), int(sys.argv[2])
masks = directory / "masks.npy"
heldout.subsets(masks, dataset="digits", subset_ratio=0.5, runs=range(runs))

digits = heldout.load_dataset("digits")
images = [torch.tensor(side.images / 16).float().flatten(1) for side in (digits.train, digits.test)]
labels = [torch.tensor(side.labels).long() for side in (digits.train, digits.test)]
margins = {"margins": [], "test_margins": []}
for mask in torch.tensor(np.load(masks)):
  model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
  optimizer = torch.optim.Adam(model.parameters(), 0.01)
  for _ in range(100):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(images[0][mask]), labels[0][mask]).backward()
    optimizer.step()
  for name, x, y in zip(margins, images, labels, strict=True):
    logits, y = model(x).double().detach(), y[:, None]
    others = logits.scatter(1, y, -torch.inf).logsumexp(1)
    margins[name].append((logits.gather(1, y)[:, 0] - others).numpy())

paths = {"masks": masks} | {name: directory / f"{name}.npy" for name in margins}
for name, values in margins.items():
  np.save(paths[name], values)
heldout.import_outcomes(directory / "runs", layout="arrays", margin="logsumexp", **paths)
