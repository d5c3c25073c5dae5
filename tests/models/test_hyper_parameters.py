import numpy as np
import pytest

from models.hyper_parameters import HyperParameters
from models.registry import ModelError


@pytest.mark.parametrize(
  ("schedule", "expected"),
  [
    ("constant", [0.2, 0.2, 0.2, 0.2]),
    ("linear", [0.2, 0.15, 0.1, 0.05]),
    ("cosine", [0.2, 0.1 + 0.1 / np.sqrt(2), 0.1, 0.1 - 0.1 / np.sqrt(2)]),
  ],
)
def test_schedules(schedule, expected):
  rates = HyperParameters(learning_rate=0.2, schedule=schedule).learning_rates(4)
  assert rates.dtype == np.float32
  np.testing.assert_allclose(rates, expected, rtol=1e-6)


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ({"epochs": 0}, "epochs is 0: it must be in 1…2147483647"),
    ({"batch_size": 0}, "batch_size is 0: it must be in 1…2147483647"),
    ({"learning_rate": 0.0}, "learning_rate is 0.0: it must be positive and finite"),
    ({"learning_rate": float("nan")}, "learning_rate is nan: it must be positive and finite"),
    ({"schedule": "step"}, "schedule is 'step': it must be one of constant, linear, cosine"),
    ({"momentum": 1.0}, "momentum is 1.0: it must be at least 0 and below 1"),
    ({"weight_decay": -1e-4}, "weight_decay is -0.0001: it must be at least 0 and finite"),
    ({"crop": -1}, "crop is -1: it must be at least 0"),
    ({"precision": "float16"}, "precision is 'float16': it must be one of float32, bfloat16"),
  ],
)
def test_values_that_make_no_sense_are_refused(arguments, message):
  with pytest.raises(ModelError, match=f"^hyper-parameter {message}$"):
    HyperParameters(**arguments)
