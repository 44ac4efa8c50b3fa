"""Numbers on their way from the device to the host, which nobody waits for."""

import torch
from torch import Tensor


class Figures:
    """The values of a one-dimensional tensor, read when they have arrived."""

    def __init__(self, values: Tensor) -> None:
        self._values = values.detach()
        self._copied: torch.cuda.Event | None = None
        if values.is_cuda:  # the host runs ahead of the device; asking for a value would make it wait for all it queued
            self._values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._values.copy_(values.detach(), non_blocking=True)
            self._copied = torch.cuda.Event()
            self._copied.record()

    def arrived(self) -> bool:
        """Whether `read` would not wait."""
        return self._values.device.type == "cpu" if self._copied is None else self._copied.query()

    def read(self) -> list[float]:
        """The values."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._values.tolist()
