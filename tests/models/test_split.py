import numpy as np
import tensorflow as tf

from models.split import split

SPEC = tf.TensorSpec((3,), tf.float32)


def evaluated(parts, *arguments):
  return tf.function(lambda *given: parts(*given))(*arguments).numpy()


def test_what_follows_from_variables_alone_is_computed_beforehand():
  scale, offset = tf.Variable([1.0, 2.0, 3.0]), tf.Variable(5.0)
  parts = split(lambda x: x * tf.exp(scale * 2) + tf.cast(offset, tf.float32), SPEC)

  prepared = parts.prepare()

  expected = np.exp(2 * np.float32([1, 2, 3]))
  assert len(prepared) == 2
  assert any(np.allclose(value, expected, rtol=1e-6) for value in prepared)
  assert [tensor.shape for tensor in prepared] == [spec.shape for spec in parts.prepared_specs]
  np.testing.assert_allclose(
    evaluated(parts, tf.constant([1.0, 0.0, -1.0]), prepared),
    np.float32([1, 0, -1]) * expected + 5,
    rtol=1e-6,
  )


def test_what_was_prepared_outlives_assignments():
  variable = tf.Variable([1.0, 2.0, 3.0])
  parts = split(lambda x: x + variable * 2, SPEC)
  first = parts.prepare()
  variable.assign([10.0, 10.0, 10.0])
  second = parts.prepare()
  zeros = tf.zeros(3)
  assert evaluated(parts, zeros, first).tolist() == [2, 4, 6]
  assert evaluated(parts, zeros, second).tolist() == [20, 20, 20]


def test_a_value_that_needs_no_argument_is_prepared_whole():
  variable = tf.Variable([1.0, 2.0, 3.0])
  parts = split(lambda x: variable * 2, SPEC)
  assert evaluated(parts, tf.zeros(3), parts.prepare()).tolist() == [2, 4, 6]


def test_nested_functions_and_loops_that_read_variables_are_not_split():
  variable = tf.Variable([1.0, 2.0, 3.0])
  nested = tf.function(lambda x: x * variable)
  assert split(nested, SPEC) is None
  assert split(lambda x: tf.map_fn(lambda one: one * variable, x), SPEC) is None
