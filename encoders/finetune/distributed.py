"""Several processes as one: each encodes its share of a step's texts, and all get all vectors.

Every process has all examples and makes the same batch. So only vectors (gathered) and gradients of the weights (summed) are sent. Each
process computes the loss on the whole batch, from the same numbers. So n processes do what one process does with a batch n times as large.
No text is encoded twice, and each process computes as many tokens as the others.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist

from encoders.errors import UnusableError
from encoders.finetune.examples import Ints


@dataclass(frozen=True, slots=True)
class Group:
    """This process among the others; alone, nothing here costs anything."""

    rank: int
    size: int
    device: torch.device
    owned: bool = False
    """Whether ``close`` ends the process group."""

    @classmethod
    def join(cls, device: str = "auto") -> Group:
        """As ``torchrun`` says in the environment: NCCL between GPUs, gloo between CPUs."""
        cuda = torch.cuda.is_available() if device == "auto" else device.startswith("cuda")
        size = int(os.environ.get("WORLD_SIZE", "1"))
        place = torch.device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}") if cuda else torch.device("cpu")
        if cuda:
            torch.cuda.set_device(place)
        if size == 1:
            return cls(0, 1, place)
        owned = not dist.is_initialized()
        if owned:
            dist.init_process_group("nccl" if cuda else "gloo")
        return cls(dist.get_rank(), size, place, owned)

    def shares(self, lengths: Ints) -> list[Ints]:
        """Rows for each process: runs of similar length, of nearly the same number of tokens."""
        order = np.argsort(-lengths, kind="stable")
        before = np.cumsum(lengths[order]) - lengths[order]
        owner = before * self.size // max(1, int(lengths.sum()))
        return [order[owner == rank] for rank in range(self.size)]

    def gather(self, mine: torch.Tensor, shares: Sequence[Ints]) -> torch.Tensor:
        """[rows, dimension] of all, from each one's share."""
        if self.size == 1:
            whole = torch.empty_like(mine)
            whole[torch.from_numpy(shares[0])] = mine
            return whole
        most = max(len(share) for share in shares)
        padded = mine.new_zeros(most, mine.shape[1])
        padded[: len(mine)] = mine
        parts = [torch.empty_like(padded) for _ in shares]
        dist.all_gather(parts, padded)
        whole = mine.new_empty(sum(len(share) for share in shares), mine.shape[1])
        for part, share in zip(parts, shares, strict=True):
            whole[torch.from_numpy(share)] = part[: len(share)]
        return whole

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """In place, over all processes, in one message."""
        if self.size == 1:
            return
        parameters = list(parameters)
        for parameter in parameters:
            if parameter.grad is None:  # a process without a text in this step
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        for gradient, part in zip(gradients, torch.split(flat, [gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def from_first(self, *values: float) -> list[float]:
        """The first process's numbers, for what clocks and files decide."""
        if self.size == 1:
            return list(values)
        numbers = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.broadcast(numbers, 0)
        return [float(value) for value in numbers.tolist()]

    def check_same(self, *numbers: int) -> None:
        """Raises UnusableError if the processes were not given the same."""
        if self.size == 1:
            return
        mine = torch.tensor(numbers, dtype=torch.int64, device=self.device)
        theirs = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(theirs, mine)
        if any(not torch.equal(other, theirs[0]) for other in theirs):
            raise UnusableError("the processes were given different examples, settings or checkpoints; start all with the same")

    def close(self) -> None:
        """Leave."""
        if self.owned:
            dist.destroy_process_group()
