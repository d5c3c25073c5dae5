"""Damaged files: what chance, and whoever means harm, makes of sound ones."""

import random
from collections.abc import Iterator

# Sizes and offsets that have been trouble: nothing, one, the ends of integer types and beside them.
_NUMBERS = [
  0,
  1,
  2,
  7,
  *(2**bits + more for bits in (7, 8, 15, 16, 31, 32, 63) for more in (-1, 0)),
]


def mutate(content: bytes, seed: int, count: int, spots: tuple[int, ...] = ()) -> Iterator[bytes]:
  """Yields damaged copies of a file, the same for the same seed.

  Each has up to four faults: a flipped bit, another byte, a number that means trouble, a cut, a
  piece that is missing, there twice, of zeros, or of another place.

  Args:
    content: the file.
    seed: of the choice of faults.
    count: how many copies.
    spots: offsets of headers and directories: two faults in three lie within 48 bytes after one.
  """
  rng = random.Random(seed)
  for _ in range(count):
    damaged = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
      _damage(damaged, rng, spots)
    yield bytes(damaged)


def _damage(damaged: bytearray, rng: random.Random, spots: tuple[int, ...]) -> None:
  if not damaged:
    return
  at = rng.randrange(len(damaged))
  if spots and rng.random() < 2 / 3:
    at = min(rng.choice(spots) + rng.randrange(48), len(damaged) - 1)
  length = min(rng.choice((1, 2, 4, 8, 30, 100)), len(damaged) - at)
  piece = slice(at, at + length)
  fault = rng.randrange(9)
  if fault == 0:
    damaged[at] ^= 1 << rng.randrange(8)
  elif fault == 1:
    damaged[at] = rng.randrange(256)
  elif fault in (2, 3, 4):
    width = rng.choice((2, 4, 8))
    number = rng.choice(_NUMBERS) % 256**width
    damaged[at : at + width] = number.to_bytes(width, rng.choice(("little", "big")))
  elif fault == 5:
    del damaged[at:]
  elif fault == 6:
    del damaged[piece]
  elif fault == 7:
    damaged[piece] = damaged[piece] * rng.choice((0, 2, 2, 50))
  else:
    other = rng.randrange(len(damaged))
    damaged[piece] = damaged[other : other + length]
