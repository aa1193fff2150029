"""The forward pass of a BERT encoder in compiled code, with products of 16-bit integers. One call computes on one core.

The tokens of a batch are stored one after another. So only the last rows of a tile are padding. The inputs of a product are quantized row
by row (``int16_weights`` explains why no sum overflows). Everything between the products is float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from encoders.kernels import float_tile, int16_tile
from encoders.kernels.compiling import compiler
from encoders.kernels.int16_tile import host_shape, tile_for

_SHAPE = host_shape()
if _SHAPE is None:
    raise ImportError("this processor has no AVX2")
ROWS, COLUMNS = _SHAPE.rows, _SHAPE.columns
"""Rows and columns of a tile on this processor."""
ROW_NORM = np.float32(32700.0)
"""A row's Euclidean norm in quanta. No element is larger, so each fits into 16 bits."""
BLOCK = 8 * ROWS
"""Rows whose wide middle layer is in the cache at a time."""
_tile = tile_for(_SHAPE)
LANES = _SHAPE.lanes
FLOAT_ROWS = float_tile.ROWS
_float_tile = float_tile.float_tile(LANES)


_compiled = compiler((int16_tile, float_tile), _SHAPE, fastmath=True)


@_compiled
def quantize(x: Any, first: int, count: int, width: int, panels: Any, scales: Any) -> None:
    """Rows ``first`` to ``first + count`` of x [rows, width] as int16 into ``panels`` [count, width], their quanta into ``scales``."""
    for r in range(count):
        row = x[first + r]
        into = panels[r * width : (r + 1) * width]
        square = np.float32(1e-20)
        for i in range(width):
            square += row[i] * row[i]
        scale = np.float32(np.sqrt(square)) / ROW_NORM
        scales[r] = scale
        inverse = np.float32(1.0) / scale
        for i in range(width):
            v = row[i] * inverse
            into[i] = np.int16(np.int32(v + (np.float32(0.5) if v >= np.float32(0.0) else np.float32(-0.5))))


@_compiled
def product(
    panels: Any, scales: Any, rows: int, width: int, weights: Any, column_scales: Any, bias: Any, columns: int, out: Any, at: int
) -> None:
    """out[at:] as [rows, columns] = panels · weights, scaled, plus bias. ``rows`` is rounded up to whole tiles."""
    pairs = width // 2
    for column in range(0, columns, COLUMNS):
        for row in range(0, rows, ROWS):
            _tile(
                panels,
                row * width,
                width,
                weights,
                column * width,
                pairs,
                out,
                at + row * columns + column,
                columns,
                scales,
                row,
                column_scales,
                bias,
                column,
            )


@_compiled
def gelu(x: Any, count: int) -> None:
    """x · Φ(x) in place; erf as a quotient of polynomials, largest error 3e-8 (fitted by us for |x| below 4, where erf is 1 to 2e-8)."""
    for i in range(count):
        t = x[i] * np.float32(0.7071067811865476)
        t = min(max(t, np.float32(-4.0)), np.float32(4.0))
        u = t * t
        p = np.float32(1.9747912046394688e-06)
        p = p * u + np.float32(0.0002880409038417623)
        p = p * u + np.float32(0.0040037089538590125)
        p = p * u + np.float32(0.053467665429023314)
        p = p * u + np.float32(0.19625070990211066)
        p = p * u + np.float32(1.12837897643701)
        q = np.float32(3.74804324963117e-05)
        q = q * u + np.float32(0.001216371610665279)
        q = q * u + np.float32(0.015444549438134756)
        q = q * u + np.float32(0.11647710458898225)
        q = q * u + np.float32(0.5072538221046655)
        q = q * u + np.float32(1.0)
        x[i] = np.float32(0.5) * x[i] * (np.float32(1.0) + t * p / q)


@_compiled
def add_norm(x: Any, y: Any, rows: int, width: int, gain: Any, shift: Any, epsilon: float) -> None:
    """x[rows, width] = layer norm of x + y[rows · width], in place."""
    for r in range(rows):
        row = x[r]
        base = r * width
        total = np.float32(0.0)
        for i in range(width):
            row[i] += y[base + i]
            total += row[i]
        mean = total / np.float32(width)
        square = np.float32(0.0)
        for i in range(width):
            row[i] -= mean
            square += row[i] * row[i]
        inverse = np.float32(1.0 / np.sqrt(square / width + epsilon))
        for i in range(width):
            row[i] = row[i] * inverse * gain[i] + shift[i]


@_compiled
def softmax(s: Any, length: int) -> None:
    """In place; 1 / sum is kept in the numbers. exp by a Taylor series of x/64, squared six times."""
    for j in range(length, s.shape[0]):
        s[j] = np.float32(-1e30)
    largest = s[0]
    for j in range(s.shape[0]):
        largest = s[j] if s[j] > largest else largest
    total = np.float32(0.0)
    for j in range(s.shape[0]):
        y = (s[j] - largest if s[j] - largest > np.float32(-40.0) else np.float32(-40.0)) * np.float32(1.0 / 64)
        e = np.float32(1.0 / 720)
        e = e * y + np.float32(1.0 / 120)
        e = e * y + np.float32(1.0 / 24)
        e = e * y + np.float32(1.0 / 6)
        e = e * y + np.float32(0.5)
        e = e * y + np.float32(1.0)
        e = e * y + np.float32(1.0)
        e *= e
        e *= e
        e *= e
        e *= e
        e *= e
        e *= e
        s[j] = e
        total += e
    inverse = np.float32(1.0) / total
    for j in range(s.shape[0]):
        s[j] *= inverse


@_compiled
def attend(qkv: Any, begin: int, length: int, width: int, heads: int, keys: Any, s: Any, out: Any) -> None:
    """One text's attention. ``qkv`` [rows · 3 · width] with the scale in its queries; ``keys`` and ``s`` are scratch."""
    size = width // heads
    stride = 3 * width
    wide = (length + LANES - 1) // LANES * LANES
    for head in range(heads):
        at_q = begin * stride + head * size
        at_k, at_v = at_q + width, at_q + 2 * width
        for j in range(length):
            base = at_k + j * stride
            for d in range(size):
                keys[d * wide + j] = qkv[base + d]
        for i in range(0, length, FLOAT_ROWS):
            for j in range(0, wide, LANES):
                _float_tile(qkv, at_q + i * stride, stride, keys, j, wide, size, s, i * wide + j, wide)
        for i in range(length):
            softmax(s[i * wide : (i + 1) * wide], length)
        for i in range(0, length, FLOAT_ROWS):
            for d in range(0, size, LANES):
                _float_tile(s, i * wide, wide, qkv, at_v + d, stride, length, out, (begin + i) * width + head * size + d, width)


@_compiled
def forward(
    ids: Any,
    starts: Any,
    embeddings: Any,
    layers: Any,
    numbers: Any,
    heads: int,
    inner: int,
    epsilon: float,
    cls: bool,
    room: Any,
    out: Any,
) -> None:
    """``ids`` int32 [tokens] of texts that begin at ``starts`` int64 [texts + 1]; ``out`` float32 [texts, width], unit length."""
    word, position, gain, shift, first_position = embeddings
    x, context, qkv, y, middle, panels, scales, keys, s = room
    flat_context, flat = context.reshape(-1), middle.reshape(-1)
    width = word.shape[1]
    count = ids.shape[0]
    rows = (count + ROWS - 1) // ROWS * ROWS
    texts = starts.shape[0] - 1
    for n in range(texts):
        for t in range(starts[n], starts[n + 1]):
            w, p = ids[t], first_position + t - starts[n]
            for i in range(width):
                x[t, i] = word[w, i]
                y[t * width + i] = position[p, i]
    for t in range(count, rows):
        for i in range(width):
            x[t, i] = np.float32(0.0)
            context[t, i] = np.float32(0.0)
            y[t * width + i] = np.float32(0.0)
    add_norm(x, y, rows, width, gain, shift, epsilon)
    a = 3 * width * width
    b = a + width * width
    c = b + inner * width
    for layer in range(layers.shape[0]):
        w = layers[layer]
        f = numbers[layer]
        quantize(x, 0, rows, width, panels, scales)
        e = 0
        product(panels, scales, rows, width, w[:a], f[e : e + 3 * width], f[e + 3 * width : e + 6 * width], 3 * width, qkv, 0)
        e += 6 * width
        for n in range(texts):
            attend(qkv, starts[n], starts[n + 1] - starts[n], width, heads, keys, s, flat_context)
        quantize(context, 0, rows, width, panels, scales)
        product(panels, scales, rows, width, w[a:b], f[e : e + width], f[e + width : e + 2 * width], width, y, 0)
        e += 2 * width
        add_norm(x, y, rows, width, f[e : e + width], f[e + width : e + 2 * width], epsilon)
        e += 2 * width
        g = e + 2 * inner
        h = g + 2 * width
        for start in range(0, rows, BLOCK):
            some = min(BLOCK, rows - start)
            quantize(x, start, some, width, panels, scales)
            product(panels, scales, some, width, w[b:c], f[e : e + inner], f[e + inner : g], inner, flat, 0)
            gelu(flat, some * inner)
            quantize(middle, 0, some, inner, panels, scales)
            product(panels, scales, some, inner, w[c:], f[g : g + width], f[g + width : h], width, y, start * width)
        add_norm(x, y, rows, width, f[h : h + width], f[h + width : h + 2 * width], epsilon)
    for n in range(texts):
        vector = out[n]
        last = starts[n] + 1 if cls else starts[n + 1]
        for i in range(width):
            vector[i] = np.float32(0.0)
        for t in range(starts[n], last):
            for i in range(width):
                vector[i] += x[t, i]
        square = np.float32(0.0)
        for i in range(width):
            square += vector[i] * vector[i]
        inverse = np.float32(1.0 / np.sqrt(max(square, np.float32(1e-24))))
        for i in range(width):
            vector[i] *= inverse
