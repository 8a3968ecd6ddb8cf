"""Sixteen float32 lanes as one Numba value, so that a kernel is written vector by vector.

LLVM vectorises a loop only if it can prove that nothing in it aliases; the scans give it no such proof. Here a vector
is a value with `load`, `store`, `+ - * /` and `total`, which LLVM lowers to whatever registers the machine has. Products
and sums may be fused; nothing is assumed about NaN or infinity, so a NaN that comes in goes out.

`exp2`: 2^x = 2^k p(r), k the nearest integer, r in [-1/2, 1/2], p(r) = 1 + r q(r), a minimax fit of degree 6 (error
about one unit in the last place); 0 below x = -126.5, infinity above 127.5.
`exp`: the same after a reduction by ln 2 in two parts, so that large arguments lose nothing.
`log1p`: for 0 <= x <= 1, 2 atanh(s) with s = x / (2 + x), an odd minimax fit of degree 9: accurate near 0 as well.
`transpose(source, at, step, last, target, to)`: 16 columns of up to sixteen rows that are `step` apart, the rows from `last`
on all alike, to 16 rows that lie one behind the other.
`flushed`: lanes below `TINY` become 0. Decays run through the subnormal numbers on their way to 0, where every operation
takes a hundred times as long.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, overload, register_model

from mambascope.models.kernels.jit import inlined

LANES = 16
LOG2_E = np.float32(1.4426950408889634)
LN_2 = np.float32(0.6931471805599453)
TINY = np.float32(1e-30)
_ZERO, _ONE = np.float32(0.0), np.float32(1.0)

_INT = ir.IntType(32)
_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_INTS = ir.VectorType(_INT, LANES)
_FUSED = ("contract", "nsz")

_EXP2_TERMS = (
    1.0,
    0.6931471824645996,
    0.24022647738456726,
    0.055503323674201965,
    0.00961843691766262,
    0.0013398873852565885,
    0.00015353361959569156,
)
_LN_2_PARTS = (0.693359375, -2.12194440e-4)  # k times the first is exact
_LOG1P_TERMS = (
    2.0,
    0.6666631698608398,
    0.40024909377098083,
    0.27960601449012756,
    0.2817833423614502,
)
_ROUND = 1.5 * 2**23 + 127  # adding it leaves the nearest integer, plus 127, in the lowest bits


class VectorType(types.Type):
    """Numba's type of sixteen float32 lanes."""


vector = VectorType(name=f"float32x{LANES}")


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: types.Type) -> None:
        super().__init__(manager, numba_type, _FLOATS)


def _operation(
    result: types.Type, arguments: Sequence[types.Type | None], emit: Callable[..., Any]
) -> Any:
    """An intrinsic of these argument types (None: a flat float32 array) whose code `emit(builder, *values)` writes."""

    def typed(context: Any, given: Sequence[types.Type]) -> Any:
        fits = all(
            _is_flat(have) if want is None else context.can_convert(have, want) is not None
            for want, have in zip(arguments, given, strict=True)
        )
        if not fits:
            return None
        chosen = [
            have if want is None else want for want, have in zip(arguments, given, strict=True)
        ]

        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            values = [
                context.make_array(kind)(context, builder, value).data if _is_flat(kind) else value
                for kind, value in zip(signature.args, values, strict=True)
            ]
            out = emit(builder, *values)
            return context.get_dummy_value() if out is None else out

        return result(*chosen), codegen

    return intrinsic(_SHAPES[len(arguments)](typed))


def _is_flat(kind: types.Type) -> bool:
    return isinstance(kind, types.Array) and kind.layout == "C" and kind.dtype == types.float32


# Numba reads the number of arguments off the function that it is given.
_SHAPES: dict[int, Callable[..., Any]] = {
    1: lambda typed: lambda context, a: typed(context, (a,)),
    2: lambda typed: lambda context, a, b: typed(context, (a, b)),
    3: lambda typed: lambda context, a, b, c: typed(context, (a, b, c)),
    6: lambda typed: lambda context, a, b, c, d, e, f: typed(context, (a, b, c, d, e, f)),
}


def _constant(value: float | np.floating) -> ir.Constant:
    return ir.Constant(_FLOATS, [float(value)] * LANES)


def _where(builder: Any, data: Any, index: Any) -> Any:
    return builder.bitcast(builder.gep(data, [index]), _FLOATS.as_pointer())


def _spread(builder: Any, scalar: Any) -> Any:
    kind = ir.VectorType(scalar.type, LANES)
    empty = ir.Constant(kind, ir.Undefined)
    one = builder.insert_element(empty, scalar, ir.Constant(_INT, 0))
    return builder.shuffle_vector(one, empty, ir.Constant(_INTS, [0] * LANES))


def _emit_load(builder: Any, data: Any, index: Any) -> Any:
    loaded = builder.load(_where(builder, data, index))
    loaded.align = 4
    return loaded


def _emit_broadcast(builder: Any, data: Any, index: Any) -> Any:
    return _spread(builder, builder.load(builder.gep(data, [index])))


def _emit_prefetch(builder: Any, data: Any, index: Any) -> None:
    where = builder.bitcast(builder.gep(data, [index]), ir.IntType(8).as_pointer())
    kind = ir.FunctionType(ir.VoidType(), [where.type, _INT, _INT, _INT])
    function = builder.module.declare_intrinsic("llvm.prefetch", (where.type,), kind)
    builder.call(function, [where, *(ir.Constant(_INT, value) for value in (0, 3, 1))])


def _emit_store(builder: Any, data: Any, index: Any, value: Any) -> None:
    builder.store(value, _where(builder, data, index)).align = 4


def _emit_transpose(
    builder: Any, source: Any, at: Any, step: Any, last: Any, target: Any, to: Any
) -> None:
    rows = []
    for number in range(LANES):
        wanted = ir.Constant(at.type, number)
        row = builder.select(builder.icmp_signed("<", wanted, last), wanted, last)
        rows.append(_emit_load(builder, source, builder.add(at, builder.mul(row, step))))
    for width in (8, 4, 2, 1):  # exchange the off-diagonal blocks of this width
        low = [i if not i & width else LANES + i - width for i in range(LANES)]
        masks = [ir.Constant(_INTS, [i + shift for i in low]) for shift in (0, width)]
        for first in (i for i in range(LANES) if not i & width):
            pair = rows[first], rows[first + width]
            rows[first], rows[first + width] = (builder.shuffle_vector(*pair, m) for m in masks)
    for number, row in enumerate(rows):
        place = builder.add(to, ir.Constant(to.type, number * LANES))
        _emit_store(builder, target, place, row)


def _emit_total(builder: Any, value: Any) -> Any:
    width = LANES
    while width > 1:
        width //= 2
        empty = ir.Constant(value.type, ir.Undefined)
        low, high = (
            builder.shuffle_vector(
                value,
                empty,
                ir.Constant(ir.VectorType(_INT, width), list(range(start, start + width))),
            )
            for start in (0, width)
        )
        value = builder.fadd(low, high, flags=_FUSED)
    return builder.extract_element(value, ir.Constant(_INT, 0))


def _folding(width: int) -> Callable[..., Any]:
    """Half as many partial sums of each of two vectors, the first one's before the second one's; `width` are left of each sum."""
    lanes = [lane for lane in range(2 * LANES) if lane // width % 2 == 0]

    def emit(builder: Any, a: Any, b: Any) -> Any:
        low, high = (
            builder.shuffle_vector(a, b, ir.Constant(_INTS, [lane + shift for lane in lanes]))
            for shift in (0, width)
        )
        return builder.fadd(low, high, flags=_FUSED)

    return emit


def _emit_clamp(builder: Any, x: Any, low: float, high: float) -> Any:
    for bound, beyond in ((_constant(low), "<"), (_constant(high), ">")):
        x = builder.select(builder.fcmp_ordered(beyond, x, bound), bound, x)  # a NaN stays
    return x


def _emit_polynomial(builder: Any, x: Any, terms: Sequence[float]) -> Any:
    out = _constant(terms[-1])
    for term in reversed(terms[:-1]):
        out = builder.fadd(builder.fmul(out, x, flags=_FUSED), _constant(term), flags=_FUSED)
    return out


def _emit_exp2(builder: Any, x: Any) -> Any:
    x = _emit_clamp(builder, x, -127.0, 128.0)
    rounded = builder.fadd(x, _constant(_ROUND))
    r = builder.fsub(x, builder.fsub(rounded, _constant(_ROUND)))
    return _emit_scaled(builder, _emit_polynomial(builder, r, _EXP2_TERMS), rounded)


def _emit_exp(builder: Any, x: Any) -> Any:
    x = _emit_clamp(builder, x, -88.0, 89.0)
    rounded = builder.fadd(builder.fmul(x, _constant(LOG2_E)), _constant(_ROUND))
    k = builder.fsub(rounded, _constant(_ROUND))
    for part in _LN_2_PARTS:
        x = builder.fsub(x, builder.fmul(k, _constant(part), flags=_FUSED), flags=_FUSED)
    r = builder.fmul(x, _constant(LOG2_E))
    return _emit_scaled(builder, _emit_polynomial(builder, r, _EXP2_TERMS), rounded)


def _emit_scaled(builder: Any, value: Any, rounded: Any) -> Any:
    """Value times 2^k, where the lowest bits of `rounded` hold k + 127."""
    shift = ir.Constant(_INTS, [23] * LANES)
    scale = builder.bitcast(builder.shl(builder.bitcast(rounded, _INTS), shift), _FLOATS)
    return builder.fmul(value, scale, flags=_FUSED)


def _emit_log1p(builder: Any, x: Any) -> Any:
    s = builder.fdiv(x, builder.fadd(x, _constant(2.0)))
    terms = _emit_polynomial(builder, builder.fmul(s, s), _LOG1P_TERMS)
    return builder.fmul(s, terms, flags=_FUSED)


def _emit_flush(builder: Any, x: Any) -> Any:
    tiny = builder.fcmp_ordered("<", x, _constant(TINY))
    return builder.select(tiny, _constant(0.0), x)


def _emit_max(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_unordered(">", a, b), a, b)


_index = types.intp
load = _operation(vector, [None, _index], _emit_load)
prefetch = _operation(types.void, [None, _index], _emit_prefetch)
broadcast = _operation(vector, [None, _index], _emit_broadcast)
store = _operation(types.void, [None, _index, vector], _emit_store)
splat = _operation(vector, [types.float32], _spread)
transpose = _operation(types.void, [None, _index, _index, _index, None, _index], _emit_transpose)
fold_8, fold_4, fold_2, fold_1 = (
    _operation(vector, [vector, vector], _folding(width)) for width in (8, 4, 2, 1)
)
total = _operation(types.float32, [vector], _emit_total)
exp = _operation(vector, [vector], _emit_exp)
exp2 = _operation(vector, [vector], _emit_exp2)
log1p = _operation(vector, [vector], _emit_log1p)
flushed = _operation(vector, [vector], _emit_flush)
maximum = _operation(vector, [vector, vector], _emit_max)

_ARITHMETIC = {
    operator.add: ir.IRBuilder.fadd,
    operator.sub: ir.IRBuilder.fsub,
    operator.mul: ir.IRBuilder.fmul,
    operator.truediv: ir.IRBuilder.fdiv,
}


def _define(symbol: Callable[..., Any], emit: Callable[..., Any]) -> None:
    both = _operation(vector, [vector, vector], lambda b, x, y: emit(b, x, y, flags=_FUSED))

    @overload(symbol, strict=False)
    def _overloaded(x: Any, y: Any) -> Any:
        if x is vector and y is vector:
            return lambda x, y: both(x, y)
        if x is vector and isinstance(y, types.Float):
            return lambda x, y: both(x, splat(y))
        if y is vector and isinstance(x, types.Float):
            return lambda x, y: both(splat(x), y)
        return None


for _symbol, _emit in _ARITHMETIC.items():
    _define(_symbol, _emit)


@inlined
def sigmoid(x):
    """1 / (1 + exp(-x))."""
    return _ONE / (exp(x * -_ONE) + _ONE)


@inlined
def softplus(x):
    """log(1 + exp(x)), as max(x, 0) + log1p(exp(-|x|))."""
    zero = splat(_ZERO)
    return maximum(x, zero) + log1p(exp(zero - maximum(x, zero - x)))
