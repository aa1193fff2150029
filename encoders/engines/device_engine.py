"""Any Hugging Face encoder on an accelerator: double-buffered, in few shapes, with smaller batches where memory runs out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from queue import SimpleQueue
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from encoders.engines import buckets
from encoders.engines.device import Device, Lane
from encoders.engines.engine import Vectors
from encoders.engines.torch_engine import unit_vectors
from streams.errors import ConfigurationError

_LOG = logging.getLogger(__name__)


class DeviceEngine:
    """As many calls at once as the device has lanes; each batch is copied while the one before computes."""

    def __init__(self, model: Any, device: Device, *, name: str, pooling: str, padding_id: int, longest: int, batch_tokens: int) -> None:
        """``longest``: the most tokens of a row. ``batch_tokens``: the padded tokens of a batch, halved whenever memory runs out."""
        self._model = model
        self._device = device
        self._pooling = pooling
        self._padding_id = padding_id
        self._longest = longest
        self._lanes: SimpleQueue[Lane] = SimpleQueue()
        for lane in device.lanes:
            self._lanes.put(lane)
        self._lock = Lock()
        self.name = name
        self.lanes = len(device.lanes)
        self.dimension = int(model.config.hidden_size)
        self.batch_tokens = batch_tokens
        """Now."""

    def widths(self, lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """See ``Engine.widths``."""
        return buckets.widths(lengths, self._longest)

    def forward(self, rows: Sequence[Sequence[int]]) -> tuple[Vectors, int]:
        """See ``Engine.forward``. Raises ConfigurationError where not even one row fits into the device's memory."""
        lane = self._lanes.get()
        try:
            vectors = np.empty((len(rows), self.dimension), np.float32)
            computed = 0
            waiting = buckets.pieces(rows, self._longest, self.batch_tokens)[::-1]
            while waiting:
                piece = waiting.pop()
                some = rows[piece]
                try:
                    computed += self._compute(lane, some, vectors[piece])
                except self._device.out_of_memory:
                    lane.wait()
                    self._device.free()
                    self._halve(some)
                    halves = buckets.pieces(some, self._longest, self.batch_tokens)
                    waiting += [slice(piece.start + half.start, piece.start + half.stop) for half in reversed(halves)]
            return vectors, computed - sum(len(row) for row in rows)
        finally:
            self._lanes.put(lane)

    def _halve(self, rows: Sequence[Sequence[int]]) -> None:
        """The budget, to half of what these rows took; unless they were cut before the last halving."""
        width = self._width(rows)
        if len(rows) == 1:
            raise ConfigurationError(
                f"one text of {width} tokens does not fit into the device's memory; "
                "use VEILSTREAM_PRECISION=bf16, a smaller model, or a device that is shared with less"
            ) from None
        with self._lock:
            if len(rows) > buckets.most_rows(width, self.batch_tokens):
                return
            self.batch_tokens = max(width, min(self.batch_tokens, width * len(rows)) // 2)
            _LOG.warning("the device's memory is full: batches have %d tokens at most from now on", self.batch_tokens)

    def _width(self, rows: Sequence[Sequence[int]]) -> int:
        return int(buckets.widths(np.array([max(len(row) for row in rows)]), self._longest)[0])

    def _compute(self, lane: Lane, rows: Sequence[Sequence[int]], out: Vectors) -> int:
        """One batch; the padded tokens that it took."""
        width = self._width(rows)
        count = buckets.rows_to(len(rows), max(len(rows), buckets.most_rows(width, self.batch_tokens)))
        ids = lane.host("ids", (count, width), torch.int64)
        lengths = lane.host("lengths", (count, 1), torch.int64)
        computed = lane.host("vectors", (count, self.dimension), torch.float32)
        ids.fill_(self._padding_id)
        lengths.fill_(1)  # rows without a text: of one token, since a mean of none is no number
        by_row = ids.numpy()
        for place, row in enumerate(rows):
            by_row[place, : len(row)] = row
        lengths.numpy()[: len(rows), 0] = [len(row) for row in rows]
        with lane.queue(), torch.inference_mode():
            tokens, valid = lane.upload(ids), lane.upload(lengths)
            mask = torch.arange(width, device=tokens.device)[None, :] < valid
            unit = unit_vectors(self._model, tokens, mask, masked=True, pooling=self._pooling)
            lane.download(unit, computed)
        lane.wait()
        out[:] = computed.numpy()[: len(rows)]
        return count * width
