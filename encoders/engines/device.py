"""What an accelerator is asked for, and CUDA's answer.

A lane is a queue of work with page-locked host memory of its own. Nothing waits but ``Lane.wait``; so while one lane's batch computes,
the other's is copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch


class Lane(Protocol):
    """For one thread at a time."""

    def host(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """Page-locked memory. The lane must have been waited for since it was last asked for under this name."""
        ...

    def upload(self, host: torch.Tensor) -> torch.Tensor:
        """Queues the copy; what is queued afterwards sees the data."""
        ...

    def download(self, computed: torch.Tensor, host: torch.Tensor) -> None:
        """Queues the copy; ``host`` holds the data after ``wait``."""
        ...

    def queue(self) -> AbstractContextManager[Any]:
        """Within, what torch computes is queued on this lane."""
        ...

    def wait(self) -> None:
        """Until everything queued is done."""
        ...


class Device(Protocol):
    """An accelerator that torch computes on."""

    @property
    def lanes(self) -> Sequence[Lane]: ...
    @property
    def out_of_memory(self) -> type[Exception]: ...

    def free(self) -> None:
        """Gives back memory that is kept for reuse."""
        ...


class CudaDevice:
    """A GPU. Not run in the product's own tests, which have none: they run ``DeviceEngine`` on a device with a simulated clock."""

    out_of_memory: type[Exception] = torch.OutOfMemoryError

    def __init__(self, device: torch.device, lanes: int = 2) -> None:
        self.lanes = [CudaLane(device) for _ in range(lanes)]

    def free(self) -> None:
        """Empties torch's cache."""
        torch.cuda.empty_cache()


class CudaLane:
    """A CUDA stream and its buffers."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        # The model may still be on its way, or being made bf16, on the stream that is current now.
        self._stream.wait_stream(torch.cuda.current_stream(device))
        self._buffers: dict[str, torch.Tensor] = {}

    def host(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """See ``Lane.host``. A buffer grows and is used again."""
        count = 1
        for size in shape:
            count *= size
        buffer = self._buffers.get(name)
        if buffer is None or buffer.numel() < count:
            buffer = self._buffers[name] = torch.empty(count, dtype=dtype, pin_memory=True)
        return buffer[:count].view(shape)

    def upload(self, host: torch.Tensor) -> torch.Tensor:
        """See ``Lane.upload``."""
        return host.to(self._device, non_blocking=True)

    def download(self, computed: torch.Tensor, host: torch.Tensor) -> None:
        """See ``Lane.download``."""
        host.copy_(computed, non_blocking=True)

    def queue(self) -> AbstractContextManager[Any]:
        """See ``Lane.queue``."""
        return torch.cuda.stream(self._stream)

    def wait(self) -> None:
        """See ``Lane.wait``."""
        self._stream.synchronize()
