"""An accelerator on a clock of its own: torch computes on the CPU, and how long it would have taken is kept beside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

COPY_S_PER_BYTE = 2e-7
COMPUTE_S_PER_POSITION = 1e-5


class OutOfMemory(RuntimeError):
    """What the device raises."""


class Value(NamedTuple):
    """A tensor of the device's. ``made_by``: only this stream may use it."""

    tensor: torch.Tensor
    made_by: SimulatedStream


@dataclass
class SimulatedDevice:
    """A copy engine in each direction and one for computing. A pass of more than ``room`` positions doesn't fit."""

    room: int = 10**9
    name: str = "simulated:0"
    uploading_until: float = 0.0
    downloading_until: float = 0.0
    computing_until: float = 0.0
    freed: int = 0
    shapes: list[tuple[int, int]] = field(default_factory=list)
    """[rows, width] of every pass that was tried."""
    streams: list[SimulatedStream] = field(default_factory=list)
    pinned: set[int] = field(default_factory=set)

    def host(self, count: int, dtype: torch.dtype) -> torch.Tensor:
        buffer = torch.full((count,), -7, dtype=dtype)
        self.pinned.add(buffer.untyped_storage().data_ptr())
        return buffer

    def stream(self) -> SimulatedStream:
        self.streams.append(SimulatedStream(self))
        return self.streams[-1]

    def out_of_memory(self, error: Exception) -> bool:
        return isinstance(error, OutOfMemory)

    def free_memory(self) -> None:
        self.freed += 1

    @property
    def finished_s(self) -> float:
        return max(stream.now for stream in self.streams)


class SimulatedStream:
    """Work starts when the stream's work before it and the engine that it needs are done. Downloads are made at ``wait``, and uploads are
    compared then, so whoever writes to a buffer too early, or reads it too early, has wrong numbers."""

    def __init__(self, device: SimulatedDevice) -> None:
        self.device = device
        self.now = 0.0
        self.uses = 0
        self._queued_until = 0.0
        self._uploads: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._downloads: list[tuple[torch.Tensor, torch.Tensor]] = []

    def upload(self, host: torch.Tensor) -> Value:
        self._check(host)
        device = self.device
        device.uploading_until = self._queue(device.uploading_until, host.nbytes * COPY_S_PER_BYTE)
        self._uploads.append((host, host.clone()))
        return Value(self._uploads[-1][1], self)

    def run(self, function: Callable[[torch.Tensor], torch.Tensor], value: Value) -> Value:
        assert value.made_by is self
        rows, width = value.tensor.shape[0], value.tensor.shape[1] - 1
        self.uses += 1
        self.device.shapes.append((rows, width))
        if rows * width > self.device.room:
            raise OutOfMemory
        device = self.device
        device.computing_until = self._queue(device.computing_until, rows * width * COMPUTE_S_PER_POSITION)
        with torch.inference_mode():
            return Value(function(value.tensor), self)

    def download(self, value: Value, host: torch.Tensor) -> None:
        self._check(host)
        assert value.made_by is self
        assert (value.tensor.shape, value.tensor.dtype) == (host.shape, host.dtype)
        device = self.device
        device.downloading_until = self._queue(device.downloading_until, host.nbytes * COPY_S_PER_BYTE)
        self._downloads.append((value.tensor, host))

    def wait(self) -> None:
        for host, copied in self._uploads:
            assert torch.equal(host, copied), "the buffer was written to while it was copied"
        for computed, host in self._downloads:
            host.copy_(computed)
        self._uploads.clear()
        self._downloads.clear()
        self.now = max(self.now, self._queued_until)

    def _queue(self, engine_until: float, seconds: float) -> float:
        self._queued_until = max(self._queued_until, self.now, engine_until) + seconds
        return self._queued_until

    def _check(self, host: torch.Tensor) -> None:
        assert host.untyped_storage().data_ptr() in self.device.pinned, "only page-locked memory is copied without a wait"
        assert host.is_contiguous()
