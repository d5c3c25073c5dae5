"""The operations that Numba does not have, written in LLVM's vector and scalar types.

Numba's on-disk cache looks at the file of the function it compiled: after a change here, touch
influence_rows.py, select_rows.py and sum_members.py.
"""

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]  # llvmlite has no stubs
from numba.core import cgutils, types
from numba.extending import intrinsic

LANES = 8
GROUP = 4
VALUE_LANES = 32


@intrinsic
def count_tile(
  typing_context: Any,
  group: Any,
  tiles: Any,
  tile: Any,
  first: Any,
  stop: Any,
  counts: Any,
  column: Any,
) -> Any:
  """Counts one tile: counts[g, column + lane] = popcount of group[g] & tiles[tile, :, lane].

  Of the words, only first : stop are counted.

  Written in LLVM's vector types because Numba has neither a popcount nor a way to keep an array in
  registers; the loop that LLVM makes of plain Numba code stores its counts at every word and is
  a third slower. A CPU without vector popcounts or 512-bit registers gets them emulated.

  Args:
    typing_context: Numba's.
    group: uint64 [GROUP, words].
    tiles: uint64 [tiles, words, LANES].
    tile: int64, which tile.
    first: int64, first word to count.
    stop: int64, one past the last word to count.
    counts: int32 [GROUP, columns], written.
    column: int64, first column to write.
  """

  def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    group, tiles, counts = (
      context.make_array(signature.args[i])(context, builder, arguments[i]) for i in (0, 1, 5)
    )
    tile, first, stop, column = (arguments[i] for i in (2, 3, 4, 6))
    word = ir.IntType(64)
    lanes = ir.VectorType(word, LANES)
    narrow = ir.VectorType(ir.IntType(32), LANES)
    popcount = cgutils.get_or_insert_function(
      builder.module, ir.FunctionType(lanes, [lanes]), f"llvm.ctpop.v{LANES}i64"
    )
    words = cgutils.unpack_tuple(builder, group.shape)[1]
    columns = cgutils.unpack_tuple(builder, counts.shape)[1]
    tile_data = builder.gep(tiles.data, [builder.mul(tile, builder.mul(words, word(LANES)))])
    sums = [cgutils.alloca_once_value(builder, ir.Constant(lanes, None)) for _ in range(GROUP)]
    with cgutils.for_range(builder, stop, start=first) as loop:
      pointer = builder.gep(tile_data, [builder.mul(loop.index, word(LANES))])
      tests = builder.load(builder.bitcast(pointer, lanes.as_pointer()), align=8)
      for g, total in enumerate(sums):
        row = builder.gep(group.data, [builder.add(loop.index, builder.mul(words, word(g)))])
        single = builder.insert_element(
          ir.Constant(lanes, ir.Undefined), builder.load(row), ir.IntType(32)(0)
        )
        member = builder.shuffle_vector(single, single, ir.Constant(narrow, None))
        both = builder.call(popcount, [builder.and_(member, tests)])
        builder.store(builder.add(builder.load(total), both), total)
    for g, total in enumerate(sums):
      pointer = builder.gep(counts.data, [builder.add(column, builder.mul(columns, word(g)))])
      builder.store(
        builder.trunc(builder.load(total), narrow),
        builder.bitcast(pointer, narrow.as_pointer()),
        align=4,
      )
    return context.get_dummy_value()

  return types.void(group, tiles, tile, first, stop, counts, column), codegen


@intrinsic
def add_entries(typing_context: Any, tables: Any, word: Any, sums: Any, row: Any) -> Any:
  """Adds to sums[row] the entries that a word chooses, one of each table, in order.

  Table t is indexed by the bits 4 t to 4 t + 3 of the word.

  Written in LLVM's vector types to keep the sums in registers, as `count_tile` does with counts.

  Args:
    typing_context: Numba's.
    tables: float32 [16, 16, VALUE_LANES], table by table its entries.
    word: uint64.
    sums: float32 [rows, VALUE_LANES], read and written.
    row: int64.
  """

  def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    tables, sums = (
      context.make_array(signature.args[i])(context, builder, arguments[i]) for i in (0, 2)
    )
    word, row = arguments[1], arguments[3]
    wide = ir.IntType(64)
    lanes = ir.VectorType(ir.FloatType(), VALUE_LANES)

    def at(data: Any, index: Any) -> Any:
      pointer = builder.gep(data, [builder.mul(index, wide(VALUE_LANES))])
      return builder.bitcast(pointer, lanes.as_pointer())

    target = at(sums.data, row)
    total = builder.load(target, align=4)
    for table in range(16):
      entry = builder.and_(builder.lshr(word, wide(4 * table)), wide(15))
      chosen = at(tables.data, builder.add(entry, wide(16 * table)))
      total = builder.fadd(total, builder.load(chosen, align=4))
    builder.store(total, target, align=4)
    return context.get_dummy_value()

  return types.void(tables, word, sums, row), codegen


@intrinsic
def multiply_add(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
  """Returns a * b + c in float64, rounded once."""

  def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return builder.fma(*arguments)

  return types.float64(types.float64, types.float64, types.float64), codegen
