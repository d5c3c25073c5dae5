"""A network and a data set of one's own; this file's directory must be in PYTHONPATH.

heldout train --experiment=runs --dataset=own_network:load --model=own_network:Network --runs=0:200
"""

import numpy as np
import sonnet as snt
import tensorflow as tf
from sklearn.datasets import load_digits

import heldout


class Network(snt.Module):
  """A small convolutional network; images are float32 [batch, height, width, channels]."""

  def __init__(self, num_classes):
    super().__init__()
    self._conv = snt.Conv2D(16, 3)
    self._logits = snt.Linear(num_classes)

  def __call__(self, images, is_training):
    """Returns logits, float32 [batch, num_classes]."""
    net = tf.nn.relu(self._conv(images))
    net = tf.nn.max_pool2d(net, ksize=2, strides=2, padding="VALID")
    return self._logits(snt.flatten(net))


def load():
  """Returns scikit-learn's digits, the first 1,500 to train on."""
  digits = load_digits()
  images, labels = digits.images.astype(np.uint8), digits.target
  return heldout.checked_dataset(
    "own_network:load",
    train=(images[:1500], labels[:1500]),
    test=(images[1500:], labels[1500:]),
    pixel_max=16,
  )
