"""NVIDIA's management library, where `nvidia-ml-py` is installed: memory of the whole device and energy."""

from typing import Any

import torch


class Nvml:
    """The device that torch computes on, as NVML knows it."""

    def __init__(self, library: Any, handle: Any) -> None:
        self._library, self._handle = library, handle

    @classmethod
    def current(cls) -> "Nvml | None":
        """The current CUDA device; None without the library, or where the driver refuses it."""
        try:
            import pynvml
        except ImportError:
            return None
        uuid = torch.cuda.get_device_properties(torch.cuda.current_device()).uuid
        try:
            pynvml.nvmlInit()
            nvml = cls(pynvml, pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}"))
            nvml.used_bytes()
        except pynvml.NVMLError:
            return None
        return nvml

    def used_bytes(self) -> int:
        """Memory in use on the device, by whatever process."""
        return int(self._library.nvmlDeviceGetMemoryInfo(self._handle).used)

    def energy_j(self) -> float | None:
        """The device's energy counter in joules; None on devices that have none (before Volta)."""
        try:
            return self._library.nvmlDeviceGetTotalEnergyConsumption(self._handle) / 1000
        except self._library.NVMLError:
            return None
