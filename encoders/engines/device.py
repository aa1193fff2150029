"""The interface of an accelerator, as an engine uses it.

Only ``Stream.wait`` blocks. So the copies of one stream run at the same time as the passes of another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch


class Stream(Protocol):
    """A queue of work that is done in order. One thread at a time uses it. Values on the device are opaque to the caller."""

    def upload(self, host: torch.Tensor) -> Any:
        """A copy of ``host``, a contiguous part of a buffer from ``Device.host``, which may not be written to before ``wait``."""
        ...

    def run(self, function: Callable[[torch.Tensor], torch.Tensor], value: Any) -> Any:
        """What ``function`` makes of an uploaded value. Raises what ``Device.out_of_memory`` knows where there is no room for it."""
        ...

    def download(self, value: Any, host: torch.Tensor) -> None:
        """Into ``host``, a contiguous part of a buffer from ``Device.host`` and of the value's shape, type; undefined before ``wait``."""
        ...

    def wait(self) -> None:
        """Until all that was asked for is done. Other threads run meanwhile."""
        ...


class Device(Protocol):
    """Any thread may call it."""

    @property
    def name(self) -> str:
        """For messages, as settings name it: ``cuda:0``."""
        ...

    def host(self, count: int, dtype: torch.dtype) -> torch.Tensor:
        """A buffer [count] on the host that streams copy from and to without blocking."""
        ...

    def stream(self) -> Stream:
        """A new one; the model's weights are in place for it."""
        ...

    def out_of_memory(self, error: Exception) -> bool:
        """Whether a smaller batch may do what raised this."""
        ...

    def free_memory(self) -> None:
        """Release cached memory. Memory that is still referenced, for example by a frame of a caught exception, stays in use."""
        ...
