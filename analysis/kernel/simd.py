"""Vectors of a fixed number of float32 or int32 lanes as values inside numba functions.

LLVM's loop vectoriser stops at half of the register width on the processors that have 512 bits, and keeps no tile of a
matrix product in registers. Here a vector is an LLVM vector value, so a compiled function written in Python says
exactly what the processor does. Nothing is allocated.

A vector has `TILE` lanes, one or two registers of `LANES`: 16 with AVX-512, 8 with AVX, otherwise 4. Arrays are flat
and contiguous; offsets count elements.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any, cast

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.extending import intrinsic, models, register_model, type_callable


def _host_lanes() -> int:
    features = llvm.get_host_cpu_features()
    return 16 if features.get("avx512f") else 8 if features.get("avx") else 4


LANES = _host_lanes()
# Registers that a tile of the matrix product keeps side by side: as many as there are.
TILE_VECTORS = 2 if LANES in (4, 16) else 1

TILE = TILE_VECTORS * LANES
"""Lanes of a vector."""

_F32, _I32 = ir.FloatType(), ir.IntType(32)
_VECTOR = {"f": ir.VectorType(_F32, TILE), "i": ir.VectorType(_I32, TILE)}
_REGISTER = ir.VectorType(_F32, LANES)


# numba has no type information; what it decorates is called from compiled code alone.
_compiled_by = cast(Callable[[Callable[..., Any]], Any], intrinsic)


class Lanes(types.Type):  # type: ignore[misc]  # numba has no type information
    """A vector of float32 ("f") or 32-bit integers without sign ("i")."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        super().__init__(name=f"Lanes[{kind}]")


floats, integers = Lanes("f"), Lanes("i")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Lanes) -> None:
        super().__init__(manager, kind, _VECTOR[kind.kind])


def _define_operator(function: Callable[..., Any], kind: Lanes, instruction: str) -> None:
    @type_callable(function)  # type: ignore[untyped-decorator]
    def _type(context: Any) -> Callable[..., Any]:
        def typer(a: Any, b: Any) -> Any:
            return kind if a is kind and b is kind else None

        return typer

    @lower_builtin(function, kind, kind)  # type: ignore[untyped-decorator]
    def _lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        flags = ("contract", "nsz") if kind is floats else ()
        return getattr(builder, instruction)(*args, flags=flags)


for _function, _instruction in ((operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul")):
    _define_operator(_function, floats, _instruction)
for _function, _instruction in (
    (operator.add, "add"),
    (operator.sub, "sub"),
    (operator.xor, "xor"),
    (operator.and_, "and_"),
    (operator.or_, "or_"),
):
    _define_operator(_function, integers, _instruction)


def _constant(value: int) -> ir.Constant:
    return ir.Constant(_VECTOR["i"], [value] * TILE)


def _splat(builder: Any, value: Any, vector: Any) -> Any:
    none = ir.Constant(vector, ir.Undefined)
    one = builder.insert_element(none, value, ir.Constant(_I32, 0))
    return builder.shuffle_vector(one, none, ir.Constant(ir.VectorType(_I32, vector.count), [0] * vector.count))


def _call(builder: Any, name: str, vector: Any, *args: Any) -> Any:
    """Call LLVM's own function of that name on whole vectors."""
    suffix = f"v{vector.count}{'f32' if vector.element == _F32 else 'i32'}"
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(vector, [vector] * len(args)), f"llvm.{name}.{suffix}"
    )
    return builder.call(function, args)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, offset: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [offset], inbounds=True)


def _load(builder: Any, pointer: Any, vector: Any) -> Any:
    return builder.load(builder.bitcast(pointer, vector.as_pointer()), align=4)


def _store(builder: Any, value: Any, pointer: Any) -> None:
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer()), align=4)


@_compiled_by
def load(typing: Any, array: Any, offset: Any) -> Any:
    """Lanes array[offset : offset + TILE] of a float32 array."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        at = context.cast(builder, args[1], signature.args[1], types.intp)
        return _load(builder, _pointer(context, builder, signature.args[0], args[0], at), _VECTOR["f"])

    return floats(array, offset), codegen


@_compiled_by
def store(typing: Any, array: Any, offset: Any, value: Any) -> Any:
    """array[offset : offset + TILE] = value."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        at = context.cast(builder, args[1], signature.args[1], types.intp)
        _store(builder, args[2], _pointer(context, builder, signature.args[0], args[0], at))
        return context.get_dummy_value()

    return types.void(array, offset, value), codegen


@_compiled_by
def splat(typing: Any, value: Any) -> Any:
    """All lanes one float32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _splat(builder, context.cast(builder, args[0], signature.args[0], types.float32), _VECTOR["f"])

    return floats(value), codegen


@_compiled_by
def splat_bits(typing: Any, value: Any) -> Any:
    """All lanes one 32-bit integer."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _splat(builder, context.cast(builder, args[0], signature.args[0], types.uint32), _VECTOR["i"])

    return integers(value), codegen


@_compiled_by
def lane_numbers(typing: Any) -> Any:
    """0, 1, 2 ... in the lanes."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return ir.Constant(_VECTOR["i"], list(range(TILE)))

    return integers(), codegen


@_compiled_by
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """A b + c, rounded once where the processor can."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(builder, "fmuladd", _VECTOR["f"], *args)

    return floats(floats, floats, floats), codegen


def _define_choice(function: Callable[..., Any], sign: str) -> None:
    @type_callable(function)  # type: ignore[untyped-decorator]
    def _type(context: Any) -> Callable[..., Any]:
        def typer(a: Any, b: Any) -> Any:
            return floats if a is floats and b is floats else None

        return typer

    @lower_builtin(function, floats, floats)  # type: ignore[untyped-decorator]
    def _lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered(sign, *args), *args)


_define_choice(min, "<")
_define_choice(max, ">")


@type_callable(math.sqrt)  # type: ignore[untyped-decorator]
def _type_root(context: Any) -> Callable[..., Any]:
    def typer(a: Any) -> Any:
        return floats if a is floats else None

    return typer


@lower_builtin(math.sqrt, floats)  # type: ignore[untyped-decorator]
def _lower_root(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    # The divider takes it beside the arithmetic.
    return _call(builder, "sqrt", _VECTOR["f"], *args)


def _shift(instruction: str) -> Any:
    @_compiled_by
    def function(typing: Any, a: Any, count: Any) -> Any:
        if not isinstance(count, types.IntegerLiteral):
            return None

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return getattr(builder, instruction)(args[0], _constant(count.literal_value))

        return integers(integers, count), codegen

    return function


shift_left, shift_right, shift_signed = _shift("shl"), _shift("lshr"), _shift("ashr")


@_compiled_by
def rotate(typing: Any, a: Any, count: Any) -> Any:
    """Bits rotated to the left by a constant."""
    if not isinstance(count, types.IntegerLiteral):
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(builder, "fshl", _VECTOR["i"], args[0], args[0], _constant(count.literal_value))

    return integers(integers, count), codegen


@_compiled_by
def to_floats(typing: Any, a: Any) -> Any:
    """Numbers with sign as float32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.sitofp(args[0], _VECTOR["f"])

    return floats(integers), codegen


@_compiled_by
def bits_of(typing: Any, a: Any) -> Any:
    """The float32's bits."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], _VECTOR["i"])

    return integers(floats), codegen


@_compiled_by
def from_bits(typing: Any, a: Any) -> Any:
    """The float32 of these bits."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], _VECTOR["f"])

    return floats(integers), codegen


def tile_of(rows: int, limits: str, fold: int = 0) -> Any:
    """Return a compiled product of `rows` rows of a matrix with TILE numbers, its sums kept in registers.

    tile(out, o, weights, w, values, v, bias, b, n, low, high): out[o + TILE r + t] = limited(bias[b + r] +
    sum_j weights[w + j rows + r] values[v + TILE j + t]) over j < n, for t < TILE. `limits`: "both", or "low" alone,
    or "none" of them.

    With `fold` outputs of a next layer nothing of this is kept: tile(..., high, f) adds weights[f + r fold + c] times
    each row to out[o + TILE c + t], c < fold.
    """

    @_compiled_by
    def tile(
        typing: Any, out: Any, o: Any, weights: Any, w: Any, values: Any, v: Any, bias: Any, b: Any, n: Any,
        low: Any, high: Any, f: Any,
    ) -> Any:  # fmt: skip
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kinds, vectors = signature.args, TILE_VECTORS
            o_at, w_at, v_at, b_at, count, f_at = (
                context.cast(builder, args[k], kinds[k], types.intp) for k in (1, 3, 5, 7, 8, 11)
            )
            out_p = _pointer(context, builder, kinds[0], args[0], o_at)
            weight_p = _pointer(context, builder, kinds[2], args[2], w_at)
            value_p = _pointer(context, builder, kinds[4], args[4], v_at)
            bias_p = _pointer(context, builder, kinds[6], args[6], b_at)
            word = context.get_value_type(types.intp)

            def element(pointer: Any, k: int) -> Any:
                return builder.gep(pointer, [ir.Constant(word, k)], inbounds=True)

            start = [_splat(builder, builder.load(element(bias_p, r)), _REGISTER) for r in range(rows)]
            entry = builder.block
            body, after = builder.append_basic_block("tile"), builder.append_basic_block("tiled")
            builder.branch(body)
            builder.position_at_end(body)
            j = builder.phi(word)
            j.add_incoming(ir.Constant(word, 0), entry)
            sums = [[builder.phi(_REGISTER) for _ in range(vectors)] for _ in range(rows)]
            row_p = builder.gep(weight_p, [builder.mul(j, ir.Constant(word, rows))], inbounds=True)
            column_p = builder.gep(value_p, [builder.mul(j, ir.Constant(word, TILE))], inbounds=True)
            columns = [_load(builder, element(column_p, t * LANES), _REGISTER) for t in range(vectors)]
            following = builder.add(j, ir.Constant(word, 1))
            for r in range(rows):
                factor = _splat(builder, builder.load(element(row_p, r)), _REGISTER)
                for t in range(vectors):
                    total = sums[r][t]
                    total.add_incoming(start[r], entry)
                    total.add_incoming(_call(builder, "fmuladd", _REGISTER, factor, columns[t], total), body)
            j.add_incoming(following, body)
            builder.cbranch(builder.icmp_signed("<", following, count), body, after)
            builder.position_at_end(after)
            low_at, high_at = (
                _splat(builder, context.cast(builder, args[k], kinds[k], types.float32), _REGISTER) for k in (9, 10)
            )
            checks = {"both": ((low_at, ">"), (high_at, "<")), "low": ((low_at, ">"),), "none": ()}[limits]
            fold_p = _pointer(context, builder, kinds[2], args[2], f_at)
            into = [_load(builder, element(out_p, k * LANES), _REGISTER) for k in range(fold * vectors)]
            for r in range(rows):
                factors = [_splat(builder, builder.load(element(fold_p, r * fold + c)), _REGISTER) for c in range(fold)]
                for t in range(vectors):
                    value = sums[r][t].incomings[1][0]
                    for limit, sign in checks:
                        value = builder.select(builder.fcmp_ordered(sign, value, limit), value, limit)
                    if not fold:
                        _store(builder, value, element(out_p, r * TILE + t * LANES))
                    for c, factor in enumerate(factors):
                        k = c * vectors + t
                        into[k] = _call(builder, "fmuladd", _REGISTER, factor, value, into[k])
            for k, total in enumerate(into):
                _store(builder, total, element(out_p, k * LANES))
            return context.get_dummy_value()

        return types.void(out, o, weights, w, values, v, bias, b, n, low, high, f), codegen

    return tile
