"""Sonnet architectures, checkpoint restore, the evaluator, and the subset trainer."""

from files.quiet_tensorflow import import_quietly

import_quietly()

# ruff: noqa: E402 # whatever imports TensorFlow comes after it was imported quietly
from models.architecture import Architecture
from models.checkpoint import CheckpointWriter, read_weights
from models.device_memory import device_memory
from models.evaluator import Evaluator
from models.registry import ModelError, build_model, model_names
from models.stream_evaluator import StreamEvaluator, default_resident
from models.weights import CheckpointError, VariableSpec, Weights

__all__ = [
  "Architecture",
  "CheckpointError",
  "CheckpointWriter",
  "Evaluator",
  "ModelError",
  "StreamEvaluator",
  "VariableSpec",
  "Weights",
  "build_model",
  "default_resident",
  "device_memory",
  "model_names",
  "read_weights",
]
