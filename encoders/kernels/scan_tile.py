"""The inner product of the scan: items times users in 8-bit integers, added up in 16 bits, written for the vector unit.

``vpmaddubsw`` multiplies pairs of an unsigned and a signed byte and adds each pair into 16 bits. That is four times the products of an fp32
multiply-add. Nothing is widened: ``item_scan.py`` explains why neither a pair nor a whole sum exceeds 16 bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_VECTORS = 2
"""Vectors of users in a tile."""
UNROLLED = 2
"""Pairs of a turn of the loop: the dimension must be a multiple of twice this. Measured: 157 against 114 products a ns and core."""
_I8, _I16, _I32, _I64 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64)


@dataclass(frozen=True, slots=True)
class ScanShape:
    """A processor's vectors of users. Accumulators, users and what is in flight must fit into its registers."""

    lanes: int
    """Users in a vector."""
    items: int
    """Of a tile."""
    product: str

    @property
    def users(self) -> int:
        """Of a tile."""
        return _VECTORS * self.lanes


def shape_of(features: dict[str, bool]) -> ScanShape | None:
    """The widest that a processor with these features (LLVM's names) has the instructions for; None without AVX2."""
    if features.get("avx512bw"):
        return ScanShape(32, 8, "llvm.x86.avx512.pmaddubs.w.512")
    if features.get("avx2"):
        return ScanShape(16, 4, "llvm.x86.avx2.pmadd.ub.sw")
    return None


def host_shape() -> ScanShape | None:
    """The one for this processor."""
    return shape_of(dict(binding.get_host_cpu_features()))


def tile_for(shape: ScanShape) -> Callable[..., Any]:
    """A function for compiled code: ``found = tile(items, at, dimension, users, users_at, start, bounds, start_at, bias, bias_at, out,
    masks)``.

    out[i, u] = saturated(start[u] + Σ items[i, k] · users[k, u] mod 2^16, + bias[i]), k below ``dimension`` (a multiple of
    2 · UNROLLED), for ``shape.items`` items and ``shape.users`` users. ``items`` uint8 from ``at`` on, rows of ``dimension`` one behind
    the other; ``users`` int8 as [dimension / 2, users, 2] from ``users_at`` on; ``start`` int16 from ``start_at`` on; ``bias`` int16 from
    ``bias_at`` on; ``out`` int16 as [items, users] from its first element on. Bit u of ``masks`` [items], uint64, says whether out[i, u] is
    above its user's bound, int16 in ``bounds`` from ``start_at`` on; returned is whether any is.
    """

    @intrinsic
    def tile(
        _context: Any,
        items: Any,
        at: Any,
        dimension: Any,
        users: Any,
        users_at: Any,
        start: Any,
        bounds: Any,
        start_at: Any,
        bias: Any,
        bias_at: Any,
        out: Any,
        masks: Any,
    ) -> Any:
        index = types.intp
        signature = types.boolean(items, index, index, users, index, start, bounds, index, bias, index, out, masks)

        def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            given = []
            for kind, value in zip(signature.args, arguments, strict=True):
                given.append(context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value)
            return emit(builder, shape, *given)

        return signature, generate

    return tile


def emit(
    builder: ir.IRBuilder,
    shape: ScanShape,
    items: ir.Value,
    at: ir.Value,
    dimension: ir.Value,
    users: ir.Value,
    users_at: ir.Value,
    start: ir.Value,
    bounds: ir.Value,
    start_at: ir.Value,
    bias: ir.Value,
    bias_at: ir.Value,
    out: ir.Value,
    masks: ir.Value,
) -> ir.Value:
    """The instructions of ``tile_for``, at the builder's place. The values are pointers to first elements, and 64-bit integers."""
    lanes, rows, columns = shape.lanes, range(shape.items), range(_VECTORS)
    sums16, pairs8 = ir.VectorType(_I16, lanes), ir.VectorType(_I8, 2 * lanes)
    width = shape.users

    def call(name: str, *arguments: ir.Value) -> ir.Value:
        kind = ir.FunctionType(sums16, [argument.type for argument in arguments])
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)  # type: ignore[no-untyped-call]

    def splat(value: ir.Value) -> ir.Value:
        empty = ir.Constant(sums16, ir.Undefined)
        first = builder.insert_element(empty, value, ir.Constant(_I32, 0))
        return builder.shuffle_vector(first, empty, ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes))

    def place(pointer: ir.Value, base: ir.Value, offset: int) -> ir.Value:
        return builder.gep(pointer, [builder.add(base, ir.Constant(_I64, offset))])

    def load(pointer: ir.Value, kind: ir.Type, align: int) -> ir.Value:
        value = builder.load(builder.bitcast(pointer, kind.as_pointer()))
        value.align = align
        return value

    zero = ir.Constant(_I64, 0)
    first = [load(place(start, start_at, lanes * v), sums16, 2) for v in columns]
    before = builder.block
    loop, done = builder.append_basic_block("pairs"), builder.append_basic_block("stored")
    builder.branch(loop)
    builder.position_at_end(loop)
    k = builder.phi(_I64)
    k.add_incoming(zero, before)
    sums = [[builder.phi(sums16) for _ in columns] for _ in rows]
    totals = [list(row) for row in sums]
    for turn in range(UNROLLED):
        k_turn = builder.add(k, ir.Constant(_I64, 2 * turn))
        user_at = builder.add(users_at, builder.mul(k_turn, ir.Constant(_I64, width)))
        of_users = [load(place(users, user_at, 2 * lanes * v), pairs8, 1) for v in columns]
        for r in rows:
            item_at = builder.add(builder.add(at, k_turn), builder.mul(dimension, ir.Constant(_I64, r)))
            pair = builder.bitcast(splat(load(place(items, item_at, 0), _I16, 1)), pairs8)
            totals[r] = [builder.add(totals[r][v], call(shape.product, pair, of_users[v])) for v in columns]
    following = builder.add(k, ir.Constant(_I64, 2 * UNROLLED))
    k.add_incoming(following, loop)
    for r in rows:
        for v in columns:
            sums[r][v].add_incoming(first[v], before)
            sums[r][v].add_incoming(totals[r][v], loop)
    builder.cbranch(builder.icmp_signed("<", following, dimension), loop, done)

    builder.position_at_end(done)
    limits = [load(place(bounds, start_at, lanes * v), sums16, 2) for v in columns]
    found = ir.Constant(_I64, 0)
    for r in rows:
        added = splat(builder.load(place(bias, bias_at, r)))
        mask = ir.Constant(_I64, 0)
        for v in columns:
            total = call(f"llvm.sadd.sat.v{lanes}i16", totals[r][v], added)
            above = builder.bitcast(builder.icmp_signed(">", total, limits[v]), ir.IntType(lanes))
            mask = builder.or_(mask, builder.shl(builder.zext(above, _I64), ir.Constant(_I64, lanes * v)))
            stored = builder.store(total, builder.bitcast(place(out, zero, width * r + lanes * v), sums16.as_pointer()))
            stored.align = 2
        builder.store(mask, place(masks, zero, r))
        found = builder.or_(found, mask)
    return builder.icmp_unsigned("!=", found, zero)


def tail_for(shape: ScanShape) -> Callable[..., Any]:
    """A function for compiled code: ``sum = tail(items, at, users, users_at, width)``, Σ items[at + k] · users[users_at + k] mod 2^16.

    ``items`` uint8, ``users`` int8, k below ``width``, a multiple (at least one) of ``2 * shape.lanes``.
    """

    @intrinsic
    def tail(_context: Any, items: Any, at: Any, users: Any, users_at: Any, width: Any) -> Any:
        signature = types.int16(items, types.intp, users, types.intp, types.intp)

        def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            given = []
            for kind, value in zip(signature.args, arguments, strict=True):
                given.append(context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value)
            return emit_tail(builder, shape, *given)

        return signature, generate

    return tail


def emit_tail(
    builder: ir.IRBuilder, shape: ScanShape, items: ir.Value, at: ir.Value, users: ir.Value, users_at: ir.Value, width: ir.Value
) -> ir.Value:
    """The instructions of ``tail_for``, at the builder's place."""
    sums16, pairs8 = ir.VectorType(_I16, shape.lanes), ir.VectorType(_I8, 2 * shape.lanes)

    def load(pointer: ir.Value, place: ir.Value) -> ir.Value:
        value = builder.load(builder.bitcast(builder.gep(pointer, [place]), pairs8.as_pointer()))
        value.align = 1
        return value

    def function(name: str, result: ir.Type, *arguments: ir.Type) -> Any:
        return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, arguments), name)  # type: ignore[no-untyped-call]

    before = builder.block
    loop, done = builder.append_basic_block("tail"), builder.append_basic_block("summed")
    builder.branch(loop)
    builder.position_at_end(loop)
    k, total = builder.phi(_I64), builder.phi(sums16)
    product = function(shape.product, sums16, pairs8, pairs8)
    added = builder.add(total, builder.call(product, [load(items, builder.add(at, k)), load(users, builder.add(users_at, k))]))
    following = builder.add(k, ir.Constant(_I64, 2 * shape.lanes))
    k.add_incoming(ir.Constant(_I64, 0), before)
    k.add_incoming(following, loop)
    total.add_incoming(ir.Constant(sums16, None), before)
    total.add_incoming(added, loop)
    builder.cbranch(builder.icmp_signed("<", following, width), loop, done)
    builder.position_at_end(done)
    return builder.call(function(f"llvm.vector.reduce.add.v{shape.lanes}i16", _I16, sums16), [added])


@intrinsic
def lowest_bit(_context: Any, mask: Any) -> Any:
    """For compiled code: the number of the lowest bit that is set in a uint64 other than 0."""

    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.intp(mask), generate
