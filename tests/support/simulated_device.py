"""An accelerator on a clock of its own: torch computes on the CPU, and how long it would have taken is kept beside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

COPY_S_PER_BYTE = 1e-6
COMPUTE_S_PER_TOKEN = 1e-5


class OutOfMemory(RuntimeError):
    """What the device raises."""


@dataclass
class SimulatedDevice:
    """A copy engine in each direction, a compute engine, ``count`` lanes. A batch of more than ``room`` tokens doesn't fit."""

    count: int = 2
    room: int = 10**9
    uploading_until: float = 0.0
    downloading_until: float = 0.0
    computing_until: float = 0.0
    freed: int = 0
    shapes: list[tuple[int, int]] = field(default_factory=list)
    out_of_memory: type[Exception] = OutOfMemory

    def __post_init__(self) -> None:
        self.lanes = [SimulatedLane(self) for _ in range(self.count)]

    def free(self) -> None:
        self.freed += 1

    @property
    def finished_s(self) -> float:
        return max(lane.now for lane in self.lanes)


class SimulatedLane:
    """Queued work starts when the lane's work before it and the engine that it needs are done. Real copies are made at ``wait``, so whoever
    writes to a buffer too early, or reads it too early, has wrong numbers."""

    def __init__(self, device: SimulatedDevice) -> None:
        self.device = device
        self.now = 0.0
        self.queued_until = 0.0
        self.uses = 0
        self.queueing = False
        self._busy: set[str] = set()
        self._buffers: dict[str, torch.Tensor] = {}
        self._downloads: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._uploads: list[tuple[torch.Tensor, torch.Tensor]] = []

    def host(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        assert name not in self._busy, "a buffer is asked for while a copy from or to it may be under way"
        self._busy.add(name)
        self._buffers[name] = torch.full(shape, -7, dtype=dtype)
        return self._buffers[name]

    def upload(self, host: torch.Tensor) -> torch.Tensor:
        assert any(host is buffer for buffer in self._buffers.values()), "only page-locked memory is copied without a wait"
        self.queued_until = self.device.uploading_until = (
            max(self.queued_until, self.now, self.device.uploading_until) + host.nbytes * COPY_S_PER_BYTE
        )
        copied = host.clone()
        assert self.queueing
        self._uploads.append((host, copied))
        if host.shape[1] > 1:
            rows, width = host.shape
            self.device.shapes.append((rows, width))
            if rows * width > self.device.room:
                raise OutOfMemory
            self._to_compute = rows * width
        return copied

    def download(self, computed: torch.Tensor, host: torch.Tensor) -> None:
        assert any(host is buffer for buffer in self._buffers.values())
        self.queued_until = self.device.computing_until = (
            max(self.queued_until, self.device.computing_until) + self._to_compute * COMPUTE_S_PER_TOKEN
        )
        self.queued_until = self.device.downloading_until = (
            max(self.queued_until, self.device.downloading_until) + host.nbytes * COPY_S_PER_BYTE
        )
        self._downloads.append((computed, host))

    @contextmanager
    def queue(self) -> Iterator[None]:
        self.uses += 1
        self.queueing = True
        yield
        self.queueing = False

    def wait(self) -> None:
        for host, copied in self._uploads:
            assert torch.equal(host, copied), "the buffer was written to while it was copied"
        for computed, host in self._downloads:
            host.copy_(computed.clone())
        self._uploads.clear()
        self._downloads.clear()
        self._busy.clear()
        self.now = max(self.now, self.queued_until)
