"""Any Hugging Face encoder on an accelerator. It has two lanes, each with a stream: one copies while the other computes.

A call is cut into passes of few shapes (``buckets``). All passes are queued, and the call waits once, for the last one. If memory runs
out, the token budget is halved, and the rest of the call is cut again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from itertools import chain
from queue import SimpleQueue
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from encoders.engines.buckets import Buckets, Shape, TokenBudget
from encoders.engines.device import Device
from encoders.engines.engine import Vectors
from encoders.engines.torch_engine import unit_vectors
from encoders.errors import UnusableError

_PASSES = 4
"""Of one call. More rows at a time leave fewer batches that are not full."""
_SHAPES = 256
"""Graphs kept for a compiled model: more than there are shapes, as torch would go on uncompiled beyond."""
_TAKE_WHOLE_MASKS = ("bert", "camembert", "distilbert", "electra", "roberta", "xlm-roberta")
_LOG = logging.getLogger(__name__)


class _Lane:
    """A stream and its buffers on the host, which grow with the calls."""

    def __init__(self, device: Device, dimension: int) -> None:
        self._device = device
        self._dimension = dimension
        self.stream = device.stream()
        self._inputs = device.host(0, torch.int32)
        self._outputs = device.host(0, torch.float32)
        self._input = self._output = 0

    def reserve(self, shapes: Sequence[Shape]) -> None:
        """Nothing may be under way. Every batch gets its own part, as a copy of an earlier one may still be."""
        inputs = sum(shape.positions + shape.rows for shape in shapes)
        outputs = sum(shape.rows for shape in shapes) * self._dimension
        if inputs > len(self._inputs):
            self._inputs = self._device.host(2 * inputs, torch.int32)
        if outputs > len(self._outputs):
            self._outputs = self._device.host(2 * outputs, torch.float32)
        self._input = self._output = 0

    def input(self, shape: Shape) -> torch.Tensor:
        """int32 [rows, 1 + width]: each row's length and tokens, so that one copy carries both."""
        begin, self._input = self._input, self._input + shape.positions + shape.rows
        return self._inputs[begin : self._input].view(shape.rows, 1 + shape.width)

    def output(self, shape: Shape) -> torch.Tensor:
        """float32 [rows, dimension]."""
        begin, self._output = self._output, self._output + shape.rows * self._dimension
        return self._outputs[begin : self._output].view(shape.rows, self._dimension)


class DeviceEngine:
    """See ``Engine``. More than ``lanes`` threads wait for each other."""

    lanes = 2

    def __init__(
        self,
        model: Any,
        device: Device,
        *,
        name: str,
        pooling: str,
        padding_id: int,
        longest: int,
        token_budget: int,
        compiled: str | Callable[..., Any] | None = None,
    ) -> None:
        """``model`` is a transformers model with weights on ``device``, in any precision; vectors are always float32.

        - ``pooling``: mean or cls.
        - ``longest``: maximum number of tokens of a row.
        - ``token_budget``: maximum number of positions of a pass.
        - ``compiled``: a backend of ``torch.compile``, such as inductor. Each shape is compiled at its first use, which takes
          seconds to minutes.
        """
        self.name = name
        self.dimension = int(model.config.hidden_size)
        self.batch_tokens = _PASSES * token_budget
        self._model = model
        self._words = int(model.get_input_embeddings().num_embeddings)
        # For a mask [rows, width] transformers checks whether it hides anything. The host would have to wait for that.
        self._whole_mask = model.config.model_type in _TAKE_WHOLE_MASKS and model.config._attn_implementation == "sdpa"
        self._pooling = pooling
        self._padding_id = padding_id
        self._longest = longest
        self._buckets = Buckets(longest)
        self._budget = TokenBudget(token_budget, least=longest)
        self._device = device
        self._pass: Callable[[torch.Tensor], torch.Tensor] = self._compute
        if compiled is not None:
            # torch's type hints lack the limit; by default it would compile eight shapes.
            limit: Any = {"recompile_limit": _SHAPES}
            self._pass = torch.compile(self._compute, dynamic=False, backend=compiled, **limit)
        self._idle: SimpleQueue[_Lane] = SimpleQueue()
        for _ in range(self.lanes):
            self._idle.put(_Lane(device, self.dimension))

    def forward(self, rows: Sequence[Sequence[int]]) -> tuple[Vectors, int]:
        """See ``Engine.forward``. Raises ValueError for a token or a length that the model does not have, and UnusableError for a row
        that does not fit into the memory of the device, even alone.
        """
        lengths = self._checked(rows)
        order = np.argsort(-lengths, kind="stable")
        vectors = np.empty((len(rows), self.dimension), np.float32)
        positions, begun, limit = 0, 0, self._budget.tokens
        lane = self._idle.get()
        try:
            while begun < len(order):
                shapes, count, failed = self._attempt(lane, rows, lengths, order[begun:], min(limit, self._budget.tokens), vectors)
                positions += sum(shape.positions for shape in shapes)
                begun += count
                if failed is not None:
                    limit = failed.positions // 2
                    self._shrink(failed)
        finally:
            self._idle.put(lane)
        return vectors, positions - int(lengths.sum())

    def _attempt(
        self,
        lane: _Lane,
        rows: Sequence[Sequence[int]],
        lengths: npt.NDArray[np.int64],
        order: npt.NDArray[np.int64],
        budget: int,
        vectors: Vectors,
    ) -> tuple[list[Shape], int, Shape | None]:
        """Fills ``vectors`` for the first of the rows in ``order``: their shapes, how many they are, and the shape that didn't fit."""
        batches = list(self._buckets.batches(lengths[order], budget))
        lane.reserve([batch.shape for batch in batches])
        queued: list[tuple[npt.NDArray[np.int64], Shape, torch.Tensor]] = []
        failed = None
        try:
            for batch in batches:
                members = order[batch.start : batch.stop]
                try:
                    queued.append((members, batch.shape, self._begin(lane, [rows[row] for row in members], lengths[members], batch.shape)))
                except Exception as error:
                    if not self._device.out_of_memory(error):
                        raise
                    failed = batch.shape
                    break
        finally:
            lane.stream.wait()  # even where a pass failed: what was queued before it still uses the buffers
        for members, _, output in queued:
            vectors[members] = output.numpy()[: len(members)]
        return [shape for _, shape, _ in queued], sum(len(members) for members, _, _ in queued), failed

    def _begin(self, lane: _Lane, rows: Sequence[Sequence[int]], lengths: npt.NDArray[np.int64], shape: Shape) -> torch.Tensor:
        """Queues a pass; where its vectors will be."""
        block = lane.input(shape)
        numbers = block.numpy()
        numbers[:, 0] = 1  # rows that fill the shape up have a token, as attention to none is NaN
        numbers[: len(rows), 0] = lengths
        numbers[:, 1:] = self._padding_id
        here = np.arange(shape.width) < lengths[:, None]
        numbers[: len(rows), 1:][here] = np.fromiter(chain.from_iterable(rows), np.int32, int(lengths.sum()))
        output = lane.output(shape)
        lane.stream.download(lane.stream.run(self._pass, lane.stream.upload(block)), output)
        return output

    def _compute(self, block: torch.Tensor) -> torch.Tensor:
        """On the device. Nothing here may depend on a value, as the host would wait for it."""
        ids = block[:, 1:].long()
        mask = torch.arange(ids.shape[1], device=block.device)[None, :] < block[:, :1]
        given = mask[:, None, None, :] if self._whole_mask else mask.long()
        return unit_vectors(self._model(input_ids=ids, attention_mask=given).last_hidden_state, mask, self._pooling)

    def _shrink(self, failed: Shape) -> None:
        # Outside of the handler: its exception keeps the frames alive that hold what the pass had already allocated.
        self._device.free_memory()
        if self._budget.halve(failed.positions):
            now = self._budget.tokens
            _LOG.warning("%s is out of memory; VEILSTREAM_ENCODER_TOKEN_BUDGET is taken as %d from now on", self._device.name, now)
        elif failed.rows == 1:
            raise UnusableError(
                f"a text of {failed.width} tokens does not fit into the memory of {self._device.name}, even alone and with "
                f"VEILSTREAM_ENCODER_TOKEN_BUDGET taken as {self._budget.tokens}; free memory there, or use a smaller model, "
                "VEILSTREAM_PRECISION=fp16 or VEILSTREAM_DEVICE=cpu"
            )

    def _checked(self, rows: Sequence[Sequence[int]]) -> npt.NDArray[np.int64]:
        # A GPU that reads beside a table fails for good: no later call of the process would work.
        lengths = np.fromiter((len(row) for row in rows), np.int64, len(rows))
        if lengths.min() < 1 or lengths.max() > self._longest:
            raise ValueError(f"rows must have 1 to {self._longest} tokens, not {int(lengths.min())} to {int(lengths.max())}")
        ids = np.fromiter(chain.from_iterable(rows), np.int64, int(lengths.sum()))
        if ids.min() < 0 or ids.max() >= self._words:
            raise ValueError(f"tokens must be from 0 to {self._words - 1}, not {int(ids.min())} to {int(ids.max())}")
        return lengths
