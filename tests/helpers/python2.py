"""Pickles as Python 2 wrote them, in which CIFAR is published."""

import itertools
import struct

import numpy as np

_DTYPE = (
  b"cnumpy\ndtype\nq\x05U\x02u1q\x06K\x00K\x01\x87q\x07Rq\x08"
  b"(K\x03U\x01|q\x09NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
)


def python2_pickle(value):
  """Returns what `cPickle.dumps(value, 2)` gave for dictionaries, lists, str, int and uint8 arrays.

  Strings become those of bytes, numbered memo entries follow each as there.
  """
  return b"\x80\x02" + b"".join(_instructions(value, itertools.count(100))) + b"."


def _instructions(value, memo):
  put = b"r" + struct.pack("<I", next(memo))
  match value:
    case dict():
      items = itertools.chain.from_iterable(value.items())
      yield b"}" + put + b"("
      for item in items:
        yield from _instructions(item, memo)
      yield b"u"
    case list():
      yield b"]" + put
      for start in range(0, len(value), 1000):  # a thousand at a time, as there
        yield b"("
        for item in value[start : start + 1000]:
          yield from _instructions(item, memo)
        yield b"e"
    case int():
      yield b"K" + bytes([value]) if 0 <= value < 256 else b"J" + struct.pack("<i", value)
    case str():
      content = value.encode("latin-1")
      short = b"U" + bytes([len(content)]) if len(content) < 256 else None
      yield (short or b"T" + struct.pack("<I", len(content))) + content + put
    case np.ndarray():
      yield b"cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85q\x03U\x01b"
      yield b"q\x04\x87" + put + b"R(K\x01"
      for size in value.shape:
        yield b"J" + struct.pack("<i", size)
      yield {1: b"\x85", 2: b"\x86", 3: b"\x87"}[value.ndim] + _DTYPE
      yield b"\x89T" + struct.pack("<I", value.nbytes) + value.tobytes() + b"tb"
