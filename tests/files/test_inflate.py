import gzip
import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from files.inflate import InflateError, gunzip, gunzip_blocks, ordinary_limit
from tests.helpers.mutations import mutate

CONTENT = random.Random(0).randbytes(3000) + bytes(5000)
PACKED = gzip.compress(CONTENT)


@given(st.lists(st.binary(max_size=50)), st.integers(0, 3))
def test_unpacks_members_and_padding(members, padding):
  packed = b"".join(gzip.compress(member) + bytes(padding) for member in members)
  assert gunzip(packed + PACKED) == b"".join(members) + CONTENT


@given(st.integers(1, 700))
def test_the_pieces_may_be_of_any_size(size):
  pieces = [PACKED[start : start + size] for start in range(0, len(PACKED), size)]
  assert b"".join(gunzip_blocks(pieces)) == CONTENT


def test_wherever_it_is_cut_it_says_so():
  for length in range(len(PACKED)):
    with pytest.raises(InflateError, match="ends in the middle: it was cut short"):
      gunzip(PACKED[:length])


@pytest.mark.parametrize("content", [b"no gzip", PACKED + b"more", PACKED[:-1] + b"!"])
def test_what_is_damaged_or_no_gzip_is_an_error(content):
  with pytest.raises(InflateError, match="is damaged, or not packed by gzip: "):
    gunzip(content)


def test_the_limit_is_what_may_be_unpacked():
  assert gunzip(PACKED, len(CONTENT)) == CONTENT
  with pytest.raises(InflateError, match="unpacks to more than 7,999 bytes: it is not to be trust"):
    gunzip(PACKED, len(CONTENT) - 1)


def test_a_bomb_is_refused_before_it_takes_memory():
  zeros = gzip.compress(bytes(1 << 26))
  tracemalloc.start()
  with pytest.raises(InflateError, match="unpacks to more than 1,000,000 bytes"):
    gunzip(zeros, 1_000_000)
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert peak < 1 << 23


def test_without_a_limit_only_what_no_data_unpack_to_is_refused():
  zeros = gzip.compress(bytes(1 << 24))
  members = ordinary_limit(0) // (1 << 24)
  assert sum(map(len, gunzip_blocks([zeros] * members))) == members << 24
  with pytest.raises(InflateError, match="unpacks to more than"):
    for _ in gunzip_blocks([zeros] * (members + 5)):
      pass


def test_a_great_many_empty_members_take_no_great_time():
  """Each used to copy what follows it: some minutes."""
  assert gunzip(gzip.compress(b"") * 100_000 + PACKED) == CONTENT


def test_no_fault_shows_in_another_error():
  packed = PACKED + gzip.compress(b"") + bytes(20) + PACKED
  messages = []
  for damaged in mutate(packed, seed=0, count=1000, spots=(0, len(PACKED))):
    try:
      gunzip(damaged)
    except InflateError as error:
      messages.append(str(error))
  assert len(messages) > 800
  assert not any("\n" in message for message in messages)
