"""The inner product of the int16 engine: one small tile of a matrix product, written for the vector unit.

``vpmaddwd`` multiplies pairs of 16-bit numbers and adds each pair into 32 bits. That is twice the products of an fp32 fused multiply-add in
the same time, on every x86 processor since 2013. With VNNI, ``vpdpwssd`` also adds up the pairs. The tile stays in registers over the
whole inner dimension. Scales and bias are applied before the result is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_I16, _I32, _I64, _F32 = ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType()


@dataclass(frozen=True, slots=True)
class Shape:
    """A tile for one kind of processor. Accumulators, two vectors of weights and what is in flight must fit into its registers."""

    name: str
    lanes: int
    """32-bit numbers in a vector."""
    rows: int
    vectors: int
    """Vectors of columns."""
    fused: str | None
    """The instruction that multiplies, adds the pairs and accumulates; None if adding takes one of its own."""
    product: str
    """The one that multiplies and adds the pairs."""

    @property
    def columns(self) -> int:
        return self.lanes * self.vectors


# With 12 rows of 512 bits LLVM keeps a sum on the stack within the loop. Where that crosses a cache line, by chance of the caller's stack,
# all is half as fast; with 10 none is.
_AVX2 = Shape("avx2", 8, 6, 2, None, "llvm.x86.avx2.pmadd.wd")
_AVX_VNNI = Shape("avxvnni", 8, 6, 2, "llvm.x86.avx512.vpdpwssd.256", "llvm.x86.avx2.pmadd.wd")
_AVX512 = Shape("avx512", 16, 10, 2, None, "llvm.x86.avx512.pmaddw.d.512")
_AVX512_VNNI = Shape("avx512vnni", 16, 10, 2, "llvm.x86.avx512.vpdpwssd.512", "llvm.x86.avx512.pmaddw.d.512")


def shape_of(features: dict[str, bool]) -> Shape | None:
    """The widest tile that a processor with these features (LLVM's names) has the instructions for; None without AVX2."""
    if features.get("avx512bw"):
        return _AVX512_VNNI if features.get("avx512vnni") else _AVX512
    if features.get("avx2"):
        return _AVX_VNNI if features.get("avxvnni") else _AVX2
    return None


def host_shape() -> Shape | None:
    """The tile for this processor."""
    return shape_of(dict(binding.get_host_cpu_features()))


def tile_for(shape: Shape) -> Callable[..., Any]:
    """A function for compiled code: its arguments are those of ``tile`` below.

    out[r, c] = Σ a[r, k] · b[c, k] · scales[r] · column_scales[c] + bias[c], for ``shape.rows`` rows and ``shape.columns`` columns.
    ``a`` int16 from ``a_at`` on, rows ``a_stride`` apart; ``b`` int16 from ``b_at`` on, aligned to a vector, as [pairs, columns, 2];
    ``out`` float32, rows ``stride`` apart. The sum must fit into 32 bits: see int16_weights.
    """

    @intrinsic
    def tile(
        _context: Any,
        a: Any,
        a_at: Any,
        a_stride: Any,
        b: Any,
        b_at: Any,
        pairs: Any,
        out: Any,
        out_at: Any,
        stride: Any,
        scales: Any,
        row: Any,
        column_scales: Any,
        bias: Any,
        column: Any,
    ) -> Any:
        at = types.intp
        signature = types.void(a, at, at, b, at, at, out, at, at, scales, at, column_scales, bias, at)

        def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            given = []
            for kind, value in zip(signature.args, arguments, strict=True):
                given.append(context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value)
            emit(builder, shape, *given)
            return context.get_dummy_value()

        return signature, generate

    return tile


def emit(
    builder: ir.IRBuilder,
    shape: Shape,
    a: ir.Value,
    a_at: ir.Value,
    a_stride: ir.Value,
    b: ir.Value,
    b_at: ir.Value,
    pairs: ir.Value,
    out: ir.Value,
    out_at: ir.Value,
    stride: ir.Value,
    scales: ir.Value,
    row: ir.Value,
    column_scales: ir.Value,
    bias: ir.Value,
    column: ir.Value,
) -> None:
    """The instructions of ``tile_for``, at the builder's place. The values are pointers to first elements, and 64-bit integers."""
    integers, halves, floats = (ir.VectorType(kind, n) for kind, n in ((_I32, shape.lanes), (_I16, 2 * shape.lanes), (_F32, shape.lanes)))
    rows, columns = range(shape.rows), range(shape.vectors)

    def splat(value: ir.Value, kind: ir.Type) -> ir.Value:
        empty = ir.Constant(ir.VectorType(kind, shape.lanes), ir.Undefined)
        first = builder.insert_element(empty, value, ir.Constant(_I32, 0))
        return builder.shuffle_vector(first, empty, ir.Constant(integers, [0] * shape.lanes))

    def place(pointer: ir.Value, base: ir.Value, offset: int) -> ir.Value:
        return builder.gep(pointer, [builder.add(base, ir.Constant(_I64, offset))])

    def load(pointer: ir.Value, kind: ir.Type, align: int) -> ir.Value:
        value = builder.load(builder.bitcast(pointer, kind.as_pointer()))
        value.align = align
        return value

    before = builder.block
    loop, done = builder.append_basic_block("pairs"), builder.append_basic_block("stored")
    builder.branch(loop)
    builder.position_at_end(loop)
    k = builder.phi(_I64)
    k.add_incoming(ir.Constant(_I64, 0), before)
    sums = [[builder.phi(integers) for _ in columns] for _ in rows]
    a_k = builder.add(a_at, builder.mul(k, ir.Constant(_I64, 2)))
    b_k = builder.add(b_at, builder.mul(k, ir.Constant(_I64, 2 * shape.columns)))
    weights = [load(place(b, b_k, 2 * shape.lanes * v), halves, 4 * shape.lanes) for v in columns]
    totals = []
    for r in rows:
        at_row = builder.add(a_k, builder.mul(a_stride, ir.Constant(_I64, r)))
        pair = builder.bitcast(splat(load(place(a, at_row, 0), _I32, 4), _I32), halves)
        totals.append([_accumulate(builder, shape, sums[r][v], pair, weights[v]) for v in columns])
    following = builder.add(k, ir.Constant(_I64, 1))
    k.add_incoming(following, loop)
    for r in rows:
        for v in columns:
            sums[r][v].add_incoming(ir.Constant(integers, None), before)
            sums[r][v].add_incoming(totals[r][v], loop)
    builder.cbranch(builder.icmp_signed("<", following, pairs), loop, done)

    builder.position_at_end(done)
    by_column = [load(place(column_scales, column, shape.lanes * v), floats, 4) for v in columns]
    added = [load(place(bias, column, shape.lanes * v), floats, 4) for v in columns]
    for r in rows:
        scale = splat(builder.load(place(scales, row, r)), _F32)
        line = builder.add(out_at, builder.mul(stride, ir.Constant(_I64, r)))
        for v in columns:
            scaled = builder.fmul(builder.fmul(builder.sitofp(totals[r][v], floats), scale), by_column[v])
            stored = builder.store(builder.fadd(scaled, added[v]), builder.bitcast(place(out, line, shape.lanes * v), floats.as_pointer()))
            stored.align = 4


def _accumulate(builder: ir.IRBuilder, shape: Shape, total: ir.Value, pair: ir.Value, weights: ir.Value) -> ir.Value:
    if shape.fused is not None:
        # LLVM has these operands as vectors of 32-bit numbers.
        kind = total.type
        call = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind, kind, kind]), shape.fused)  # type: ignore[no-untyped-call]
        return builder.call(call, [total, builder.bitcast(pair, kind), builder.bitcast(weights, kind)])
    call = cgutils.get_or_insert_function(builder.module, ir.FunctionType(total.type, [pair.type, pair.type]), shape.product)  # type: ignore[no-untyped-call]
    return builder.add(total, builder.call(call, [pair, weights]))
