"""Trains with scikit-learn on the subsets that runs of Heldout would have, and imports the outcome.

  python examples/train_elsewhere.py DIRECTORY 50

Whatever trains: write `masks.npy`, train a model per row, say which examples it classifies
correctly, import. `train_with_pytorch.py` does the same in PyTorch, with margins.
"""

import sys
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

import heldout

directory, runs = Path(sys.argv[1]), int(sys.argv[2])
names = ("masks", "correct", "test_correct")
masks, correct, test_correct = (directory / f"{name}.npy" for name in names)
heldout.subsets(masks, dataset="digits", subset_ratio=0.5, runs=range(runs))

digits = heldout.load_dataset("digits")
train, test = (split.images.reshape(len(split), -1) / 16 for split in (digits.train, digits.test))
right, test_right = [], []
for mask in np.load(masks):
  model = LogisticRegression(C=100, max_iter=20).fit(train[mask], digits.train.labels[mask])
  right.append(model.predict(train) == digits.train.labels)
  test_right.append(model.predict(test) == digits.test.labels)
np.save(correct, right)
np.save(test_correct, test_right)

heldout.import_outcomes(
  directory / "runs", layout="arrays", masks=masks, correct=correct, test_correct=test_correct
)
