"""What a Python pickle says, without doing it.

A pickle is a program: `pickle.load` imports what it names and calls it. Here its instructions are
read by `pickletools` and only put together lists, dictionaries and the like; a call becomes a note
of what was to be called with what. Instructions are counted, and nothing is copied that the pickle
says once and uses often, so that memory stays in proportion to the file.
"""

import dataclasses
import math
import pickletools
from typing import Any

import numpy as np

# CIFAR-100 takes 300,000.
_MOST_INSTRUCTIONS = 2_000_000
_MOST_KEY_LENGTH = 200
_MOST_DIMENSIONS = 4

# Instructions that give the value beside them.
_PLAIN = frozenset(
  {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
  }
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}


class PickleError(ValueError):
  """The bytes are no pickle of plain values and arrays, or a damaged one."""


@dataclasses.dataclass(frozen=True)
class Name:
  """A class or function that a pickle names."""

  name: str


@dataclasses.dataclass(eq=False)
class Call:
  """What a pickle would call, with what, and the state that it would give to the result."""

  function: str
  arguments: tuple[Any, ...]
  state: Any = None


def read_pickle(content: bytes) -> Any:
  """Returns the value that a pickle describes, importing and calling nothing.

  Args:
    content: the pickle, of any protocol.

  Returns:
    None, numbers, str (also for strings of Python 2, whose bytes are its first 256 characters),
    bytes, tuples, lists, dictionaries by str, and `Call`s and `Name`s for anything else.

  Raises:
    PickleError: it is damaged, or has instructions that plain values and arrays do without.
  """
  try:
    return _Machine().run(content)
  except (PickleError, MemoryError):
    raise
  except Exception as error:  # of instructions that do not fit together: of any kind
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    raise PickleError(f"damaged, or no pickle: {reason}") from error


def as_uint8_array(value: Any) -> np.ndarray:
  """Returns the NumPy array of bytes that a value in a pickle stands for.

  Raises:
    PickleError: it stands for anything else, or its shape and its data disagree.
  """
  match value:
    case Call(function=function, state=(_, shape, dtype, is_fortran, data)) if function in (
      "numpy.core.multiarray._reconstruct",
      "numpy._core.multiarray._reconstruct",
    ):
      pass
    case Call(function=function, arguments=(data, dtype, shape, order)) if function in (
      "numpy.core.numeric._frombuffer",
      "numpy._core.numeric._frombuffer",
    ):
      is_fortran = order == "F"
    case _:
      raise PickleError("no NumPy array where one is expected")
  match dtype:
    case Call(function="numpy.dtype", arguments=("u1" | "|u1" | "uint8", *_)):
      pass
    case _:
      raise PickleError("an array that is not of uint8")
  match data:
    case Call(function="_codecs.encode", arguments=(str() as text, "latin1" | "latin-1")) | (
      str() as text
    ):
      try:
        data = text.encode("latin-1")
      except UnicodeEncodeError as error:
        raise PickleError("an array whose data are no bytes") from error
    case bytes() | bytearray():
      pass
    case _:
      raise PickleError("an array without data")
  if not isinstance(shape, tuple) or len(shape) > _MOST_DIMENSIONS:
    raise PickleError("an array without a shape")
  if not all(type(size) is int and 0 <= size <= len(data) for size in shape):
    raise PickleError("an array of a shape that its data do not fill")
  if math.prod(shape) != len(data):
    raise PickleError(f"an array of shape {shape} with {len(data)} bytes")
  return np.frombuffer(data, np.uint8).reshape(shape, order="F" if is_fortran else "C")


class _Machine:
  """A stack, marks on it, and a memo, as in `pickle`."""

  def __init__(self) -> None:
    self._stack: list[Any] = []
    self._marks: list[int] = []
    self._memo: dict[int, Any] = {}

  def run(self, content: bytes) -> Any:
    """Returns what is left when the instructions end."""
    for count, (instruction, argument, _) in enumerate(pickletools.genops(content)):
      if count >= _MOST_INSTRUCTIONS:
        raise PickleError(f"more than {_MOST_INSTRUCTIONS} instructions")
      self._execute(instruction.name, argument)
    return self._stack.pop()

  def _execute(self, instruction: str, argument: Any) -> None:
    stack = self._stack
    if instruction in _PLAIN:
      stack.append(argument)
      return
    if instruction in _CONSTANTS:
      stack.append(_CONSTANTS[instruction])
      return
    match instruction:
      case "PROTO" | "FRAME" | "STOP":
        pass
      case "MARK":
        self._marks.append(len(stack))
      case "MEMOIZE":
        self._memo[len(self._memo)] = stack[-1]
      case "PUT" | "BINPUT" | "LONG_BINPUT":
        self._memo[argument] = stack[-1]
      case "GET" | "BINGET" | "LONG_BINGET":
        stack.append(self._memo[argument])
      case "EMPTY_LIST":
        stack.append([])
      case "EMPTY_DICT":
        stack.append({})
      case "LIST":
        stack.append(self._since_mark())
      case "DICT":
        items = self._since_mark()
        stack.append({})
        self._set_items(items)
      case "TUPLE":
        stack.append(tuple(self._since_mark()))
      case "TUPLE1" | "TUPLE2" | "TUPLE3":
        stack.append(tuple(self._last(int(instruction[-1]))))
      case "APPEND":
        self._extend(self._last(1))
      case "APPENDS":
        self._extend(self._since_mark())
      case "SETITEM":
        self._set_items(self._last(2))
      case "SETITEMS":
        self._set_items(self._since_mark())
      case "GLOBAL":
        stack.append(Name(argument.replace(" ", ".")))
      case "STACK_GLOBAL":
        module, name = self._last(2)
        stack.append(Name(f"{module:.200}.{name:.200}"))
      case "REDUCE":
        function, arguments = self._last(2)
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
          raise PickleError("a call of what is no function")
        stack.append(Call(function.name, arguments))
      case "BUILD":
        (state,) = self._last(1)
        if not isinstance(stack[-1], Call):
          raise PickleError("a state of what has none")
        stack[-1].state = state
      case _:
        raise PickleError(f"the instruction {instruction}, which plain values do without")

  def _last(self, count: int) -> list[Any]:
    if len(self._stack) < count:
      raise PickleError("an instruction without its values")
    items = self._stack[-count:]
    del self._stack[-count:]
    return items

  def _since_mark(self) -> list[Any]:
    start = self._marks.pop()
    items = self._stack[start:]
    del self._stack[start:]
    return items

  def _extend(self, items: list[Any]) -> None:
    if not isinstance(self._stack[-1], list):
      raise PickleError("items for what is no list")
    self._stack[-1].extend(items)

  def _set_items(self, items: list[Any]) -> None:
    """Sets keys and values in turn; keys are short strings, which may be copied and hashed."""
    if not isinstance(self._stack[-1], dict):
      raise PickleError("items for what is no dictionary")
    for key, value in zip(items[::2], items[1::2], strict=True):
      if not isinstance(key, str | bytes) or len(key) > _MOST_KEY_LENGTH:
        raise PickleError("a dictionary by other keys than short strings")
      self._stack[-1][key if isinstance(key, str) else key.decode("latin-1")] = value
