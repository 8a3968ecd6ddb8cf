"""The matrix unit of newer Intel processors (AMX) as Numba operations: products of 32 x 32 blocks, each number in three parts.

A tile register holds 16 rows of 64 bytes. Of the eight, 0 to 3 are the sums of a 2 x 2 block of tiles, 4 and 5 two tiles of
the left operand, 6 and 7 two of the right one. The unit multiplies bfloat16 and sums in float32 (Intel Architecture
Instruction Set Extensions, TDPBF16PS). A float32 is the sum of three bfloat16, so a product of two is the sum of nine, of
which the three smallest are below half a unit in the last place. Before the first of these operations `has_matrix_unit`
(matrix_unit.py) must have been true in this process.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from mambascope.models.kernels.simd import LANES, vector

TILE = 16  # rows, and float32 columns
DEPTH = 32  # bfloat16 that one row of a tile holds
PARTS = 3
TILE_NUMBERS = TILE * DEPTH
# (left part, right part): each shares a part with the one before, so that its tiles need not be loaded again. Loading is what
# the unit waits for. The order does not matter to the error: the sums over the depth so far are larger than any product.
_PRODUCTS = ((2, 0), (1, 0), (1, 1), (0, 1), (0, 2), (0, 0))

_BYTE, _INT, _LONG = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_POINTER = _BYTE.as_pointer()
_INTS = ir.VectorType(_INT, LANES)
_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_SHORTS = ir.VectorType(ir.IntType(16), LANES)


def _configuration() -> np.ndarray:
    """Palette 1: eight tiles of 16 rows of 64 bytes."""
    out = np.zeros(64, dtype=np.uint8)
    out[0] = 1
    out[16:32:2] = 64
    out[48:56] = TILE
    return out


CONFIGURATION = _configuration()
_operation: Any = intrinsic  # what it makes of a function is no function of Python


def _data(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    return context.make_array(kind)(context, builder, value).data


def _call(builder: Any, name: str, arguments: Sequence[Any]) -> None:
    kind = ir.FunctionType(ir.VoidType(), [value.type for value in arguments])
    function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    builder.call(function, arguments)


def _tile(number: int) -> ir.Constant:
    return ir.Constant(_BYTE, number)


def _at(builder: Any, data: Any, index: Any) -> Any:
    return builder.bitcast(builder.gep(data, [index]), _POINTER)


def _plus(builder: Any, index: Any, more: int) -> Any:
    return builder.add(index, ir.Constant(index.type, more))


def _sums(
    context: Any, builder: Any, signature: Any, values: Any
) -> Iterator[tuple[ir.Constant, Any, Any]]:
    """(tile, place, bytes from row to row) of the four sums that (array, at, below, step) names."""
    data = _data(context, builder, signature.args[0], values[0])
    apart = builder.mul(values[3], ir.Constant(_LONG, 4))
    for tile in range(4):
        place = _plus(builder, values[1 + tile // 2], TILE * (tile % 2))
        yield _tile(tile), _at(builder, data, place), apart


def _load(builder: Any, tile: int, pointer: Any, step: Any) -> None:
    _call(builder, "llvm.x86.tileloadd64", [_tile(tile), pointer, step])


@_operation
def configure(context, configuration):
    """Prepare the unit of this thread; before anything else."""

    def codegen(context, builder, signature, values):
        data = _data(context, builder, signature.args[0], values[0])
        _call(builder, "llvm.x86.ldtilecfg", [builder.bitcast(data, _POINTER)])
        return context.get_dummy_value()

    return types.void(configuration), codegen


@_operation
def release(context):
    """Give the unit of this thread back."""

    def codegen(context, builder, signature, values):
        _call(builder, "llvm.x86.tilerelease", [])
        return context.get_dummy_value()

    return types.void(), codegen


@_operation
def load_sums(context, source, at, below, step):
    """Let the sums begin with these numbers, those of the lower tiles from `below` on, one row every `step` numbers."""

    def codegen(context, builder, signature, values):
        for where in _sums(context, builder, signature, values):
            _call(builder, "llvm.x86.tileloadd64", where)
        return context.get_dummy_value()

    return types.void(source, types.intp, types.intp, types.intp), codegen


@_operation
def add_products(context, left, left_0, left_1, right, right_0, right_1):
    """Add the products of two tiles of each side, all three parts of which lie one behind the other from these places on."""

    def codegen(context, builder, signature, values):
        sides = [_data(context, builder, signature.args[n], values[n]) for n in (0, 3)]
        places = values[1:3], values[4:6]
        held: dict[int, int] = {}  # the part that lies in a tile
        for parts in _PRODUCTS:
            for tile in range(4):
                operands = 4 + tile // 2, 6 + tile % 2
                for side, operand in enumerate(operands):
                    if held.get(operand) == parts[side]:
                        continue
                    held[operand] = parts[side]
                    place = places[side][operand % 2]
                    here = _plus(builder, place, parts[side] * TILE_NUMBERS)
                    _load(builder, operand, _at(builder, sides[side], here), ir.Constant(_LONG, 64))
                _call(builder, "llvm.x86.tdpbf16ps", [_tile(n) for n in (tile, *operands)])
        return context.get_dummy_value()

    kinds = (left, types.intp, types.intp, right, types.intp, types.intp)
    return types.void(*kinds), codegen


@_operation
def store_sums(context, out, at, below, step):
    """Write the sums from `at` on, those of the lower tiles from `below` on, one row every `step` numbers."""

    def codegen(context, builder, signature, values):
        for where in _sums(context, builder, signature, values):
            _call(builder, "llvm.x86.tilestored64", where)
        return context.get_dummy_value()

    return types.void(out, types.intp, types.intp, types.intp), codegen


@_operation
def store_parts(context, out, at, x):
    """Write sixteen lanes as three bfloat16 each, the parts a tile apart: x rounded, what is left rounded, what is left then."""

    def codegen(context, builder, signature, values):
        data, at, rest = _data(context, builder, signature.args[0], values[0]), *values[1:]
        half, upper, sixteen = (
            ir.Constant(_INTS, [number] * LANES) for number in (0x8000, 0xFFFF0000, 16)
        )
        for part in range(PARTS):
            bits = builder.bitcast(rest, _INTS)
            if part < PARTS - 1:
                bits = builder.and_(builder.add(bits, half), upper)
                rest = builder.fsub(rest, builder.bitcast(bits, _FLOATS))
            where = builder.gep(data, [_plus(builder, at, part * TILE_NUMBERS)])
            where = builder.bitcast(where, _SHORTS.as_pointer())
            builder.store(builder.trunc(builder.lshr(bits, sixteen), _SHORTS), where).align = 2
        return context.get_dummy_value()

    return types.void(out, types.intp, vector), codegen
