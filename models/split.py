"""A graph in two: what follows from variables alone, and what needs its argument as well."""

from collections.abc import Callable, Sequence

import tensorflow as tf


class Split:
  """A function of one tensor and of variables, whose part without the tensor runs apart.

  Args:
    whole: the traced function.
    prepared: the tensors of its graph at which it is cut.
  """

  def __init__(self, whole: tf.types.experimental.ConcreteFunction, prepared: list[tf.Tensor]):
    self.prepared_specs = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in prepared]
    self._first = whole.prune([], prepared)
    self._second = whole.prune([whole.inputs[0], *prepared], whole.outputs[0])

  def prepare(self) -> list[tf.Tensor]:
    """Returns what follows from the variables as they are now, whatever is assigned later."""
    return self._first()

  def __call__(self, argument: tf.Tensor, prepared: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns what the function does of an argument, with the variables of `prepare`."""
    return self._second(argument, *prepared)


def split(function: Callable[[tf.Tensor], tf.Tensor], argument: tf.TensorSpec) -> Split | None:
  """Traces a function and splits it.

  Args:
    function: reads variables, and changes none.
    argument: what it is called with.

  Returns:
    The function in two parts. None where it can't be split: what needs the argument reads variables
    itself, as loops and nested functions do.
  """
  whole = tf.compat.v1.wrap_function(function, [argument])
  of_argument: set[tf.Operation] = {whole.inputs[0].op}
  of_variables: set[tf.Operation] = set()
  live = _needed(whole.outputs[0].op)
  for operation in whole.graph.get_operations():  # in the order in which they were made
    before = _before(operation)
    if before & of_argument:
      of_argument.add(operation)
    elif operation.type == "ReadVariableOp" or before & of_variables:
      of_variables.add(operation)
  inputs = [tensor for operation in of_argument & live for tensor in operation.inputs]
  if any(tensor.dtype == tf.resource for tensor in inputs):
    return None
  cut = {tensor.ref() for tensor in [*inputs, *whole.outputs] if tensor.op in of_variables}
  return Split(whole, sorted((ref.deref() for ref in cut), key=lambda tensor: tensor.name))


def _needed(last: tf.Operation) -> set[tf.Operation]:
  """Returns an operation and all that it needs."""
  found, queue = set(), {last}
  while queue:
    found |= queue
    queue = set().union(*(_before(operation) for operation in queue)) - found
  return found


def _before(operation: tf.Operation) -> set[tf.Operation]:
  return {*(tensor.op for tensor in operation.inputs), *operation.control_inputs}
