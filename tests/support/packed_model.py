"""A tiny model in the layout of the package that carries the multilingual one."""

from __future__ import annotations

import struct

import numpy as np

WIDTH, INNER, LAYERS, POSITIONS = 32, 64, 2, 40
PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", "牛仔", "裤", "▁red", "▁s", "carf"]


def packed(seed: int = 0) -> tuple[bytes, dict[str, np.ndarray]]:
    """A tiny model in the package's layout, written independently of the reader, and the tensors that it stands for."""
    generator = np.random.default_rng(seed)
    tensors: dict[str, tuple[bytes, np.ndarray]] = {}

    def blocks(name: str, *shape: int) -> None:
        count = int(np.prod(shape)) // 32
        halves = generator.integers(0, 16, (count, 32))
        scales = generator.uniform(0.01, 0.1, count).astype(np.float16)
        body = b"".join(
            struct.pack("<e", float(scale)) + bytes(int(row[n]) | int(row[n + 16]) << 4 for n in range(16))
            for scale, row in zip(scales, halves, strict=True)
        )
        tensors[name] = body, ((halves - 8) * scales[:, None].astype(np.float32)).reshape(shape).astype(np.float32)

    def floats(name: str, *shape: int) -> None:
        values = generator.standard_normal(shape).astype(np.float32)
        tensors[name] = values.tobytes(), values

    blocks("emb.word", len(PIECES), WIDTH)
    blocks("emb.pos", POSITIONS, WIDTH)
    floats("emb.type", 2, WIDTH)
    floats("emb.ln.w", WIDTH)
    floats("emb.ln.b", WIDTH)
    for layer in range(LAYERS):
        for name in ("q", "k", "v", "ao"):
            blocks(f"l{layer}.{name}.w", WIDTH, WIDTH)
            floats(f"l{layer}.{name}.b", WIDTH)
        blocks(f"l{layer}.fi.w", INNER, WIDTH)
        floats(f"l{layer}.fi.b", INNER)
        blocks(f"l{layer}.fo.w", WIDTH, INNER)
        floats(f"l{layer}.fo.b", WIDTH)
        for name in ("aln", "oln"):
            floats(f"l{layer}.{name}.w", WIDTH)
            floats(f"l{layer}.{name}.b", WIDTH)

    text = "".join(PIECES).encode()
    starts = np.cumsum([0, *(len(piece.encode()) for piece in PIECES)]).astype(np.uint32)
    replaced = struct.pack("<IBI", 0xFF21, 1, 0x41)
    head = b"E5S1" + struct.pack("<i7if", 1, WIDTH, LAYERS, 2, INNER, len(PIECES), POSITIONS, 2, 1e-12)
    head += struct.pack("<2i4iQ", 32, len(PIECES), 0, 2, 1, 3, len(text)) + starts.tobytes()
    head += np.linspace(-1, -9, len(PIECES)).astype(np.float32).tobytes() + text + struct.pack("<iI", 1, len(replaced)) + replaced
    head += struct.pack("<i", len(tensors))
    entries = sum(2 + len(name) + 5 + 16 for name in tensors)
    at, table = len(head) + entries, b""
    for name, (body, values) in tensors.items():
        table += struct.pack("<H", len(name)) + name.encode() + struct.pack("<BI2Q", 0, values.size, at, len(body))
        at += len(body)
    return head + table + b"".join(body for body, _ in tensors.values()), {name: values for name, (_, values) in tensors.items()}
