"""A small tile of an fp32 matrix product for attention, written for the vector unit like ``int16_tile``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_I32, _I64, _F32 = ir.IntType(32), ir.IntType(64), ir.FloatType()
ROWS = 8
"""Rows of a tile: enough independent sums to hide the latency of a multiply-add."""


def float_tile(lanes: int) -> Callable[..., Any]:
    """A function for compiled code: ``tile(a, a_at, a_stride, b, b_at, b_stride, inner, out, out_at, out_stride)``.

    out[r, c] = Σ a[r, k] · b[k, c] for ROWS rows and ``lanes`` columns, float32, k below ``inner`` (at least 1). Rows of each array are its
    stride apart, from its place on; ``a`` is contiguous along k, ``b`` and ``out`` along c.
    """

    @intrinsic
    def tile(
        _context: Any,
        a: Any,
        a_at: Any,
        a_stride: Any,
        b: Any,
        b_at: Any,
        b_stride: Any,
        inner: Any,
        out: Any,
        out_at: Any,
        out_stride: Any,
    ) -> Any:
        at = types.intp
        signature = types.void(a, at, at, b, at, at, at, out, at, at)

        def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            given = []
            for kind, value in zip(signature.args, arguments, strict=True):
                given.append(context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value)
            emit(builder, lanes, *given)
            return context.get_dummy_value()

        return signature, generate

    return tile


def emit(
    builder: ir.IRBuilder,
    lanes: int,
    a: ir.Value,
    a_at: ir.Value,
    a_stride: ir.Value,
    b: ir.Value,
    b_at: ir.Value,
    b_stride: ir.Value,
    inner: ir.Value,
    out: ir.Value,
    out_at: ir.Value,
    out_stride: ir.Value,
) -> None:
    """The instructions of ``float_tile``, at the builder's place."""
    floats = ir.VectorType(_F32, lanes)

    def splat(value: ir.Value) -> ir.Value:
        empty = ir.Constant(floats, ir.Undefined)
        first = builder.insert_element(empty, value, ir.Constant(_I32, 0))
        return builder.shuffle_vector(first, empty, ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes))

    before = builder.block
    loop, done = builder.append_basic_block("inner"), builder.append_basic_block("stored")
    builder.branch(loop)
    builder.position_at_end(loop)
    k = builder.phi(_I64)
    k.add_incoming(ir.Constant(_I64, 0), before)
    sums = [builder.phi(floats) for _ in range(ROWS)]
    b_k = builder.add(b_at, builder.mul(k, b_stride))
    line = builder.load(builder.bitcast(builder.gep(b, [b_k]), floats.as_pointer()))
    line.align = 4
    totals = []
    for r in range(ROWS):
        at_row = builder.add(builder.add(a_at, k), builder.mul(a_stride, ir.Constant(_I64, r)))
        value = splat(builder.load(builder.gep(a, [at_row])))
        fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(floats, [floats] * 3), f"llvm.fma.v{lanes}f32")  # type: ignore[no-untyped-call]
        totals.append(builder.call(fma, [value, line, sums[r]]))
    following = builder.add(k, ir.Constant(_I64, 1))
    k.add_incoming(following, loop)
    for r in range(ROWS):
        sums[r].add_incoming(ir.Constant(floats, None), before)
        sums[r].add_incoming(totals[r], loop)
    builder.cbranch(builder.icmp_signed("<", following, inner), loop, done)
    builder.position_at_end(done)
    for r in range(ROWS):
        where = builder.add(out_at, builder.mul(out_stride, ir.Constant(_I64, r)))
        stored = builder.store(totals[r], builder.bitcast(builder.gep(out, [where]), floats.as_pointer()))
        stored.align = 4
