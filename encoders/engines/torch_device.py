"""An accelerator with torch's streams: CUDA. The same code runs on a CPU, whose streams run everything at once; tests use this."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

# torch.OutOfMemoryError is for torch's own allocator. cuBLAS and the driver use other messages.
_OUT_OF_MEMORY = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")


class TorchStream:
    """See ``Stream``. Values are tensors; they are made and used on this stream only, so memory that is freed is reused in its order."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._runtime: Any = torch.get_device_module(device)
        self._stream = self._runtime.Stream(device)
        # A thread that waits for a blocking event sleeps; else it would spin on a core that others need.
        self._done = self._runtime.Event(**({"blocking": True} if device.type == "cuda" else {}))

    def upload(self, host: torch.Tensor) -> torch.Tensor:
        with self._runtime.stream(self._stream):
            return host.to(self._device, non_blocking=True)

    def run(self, function: Callable[[torch.Tensor], torch.Tensor], value: torch.Tensor) -> torch.Tensor:
        with self._runtime.stream(self._stream), torch.inference_mode():
            return function(value)

    def download(self, value: torch.Tensor, host: torch.Tensor) -> None:
        with self._runtime.stream(self._stream):
            host.copy_(value, non_blocking=True)

    def wait(self) -> None:
        self._done.record(self._stream)
        self._done.synchronize()


class TorchDevice:
    """See ``Device``. Raises what torch raises where the device isn't there."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._runtime: Any = torch.get_device_module(device)
        self._cuda = device.type == "cuda"
        self.name = str(device)

    def host(self, count: int, dtype: torch.dtype) -> torch.Tensor:
        # From memory that isn't pinned a copy would block, and go through a pinned buffer of the driver's.
        return torch.empty(count, dtype=dtype, pin_memory=self._cuda)

    def stream(self) -> TorchStream:
        # The weights were copied and converted on the default stream, which others don't wait for.
        self._runtime.synchronize(self._device)
        return TorchStream(self._device)

    def out_of_memory(self, error: Exception) -> bool:
        return isinstance(error, torch.OutOfMemoryError) or (
            isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)
        )

    def free_memory(self) -> None:
        if self._cuda:
            self._runtime.empty_cache()
