"""States of the global random generators, as a checkpoint keeps them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch


def random_states(device: torch.device) -> dict[str, Any]:
    """Returns the states of NumPy's and PyTorch's generators, as tensors and text.

    Args:
        device: device of a training; any but the CPU has its own generator.
    """
    name, keys, *rest = np.random.get_state()
    states: dict[str, Any] = {
        "torch_rng": torch.get_rng_state(),
        "numpy_rng": json.dumps([name, np.asarray(keys).tolist(), *rest]),
        "device_rng": {},
    }
    if device.type != "cpu":
        states["device_rng"][device.type] = torch.get_device_module(device).get_rng_state(device)
    return states


def restore_random_states(saved: dict[str, Any], device: torch.device) -> None:
    """Restores the states that `random_states` returned.

    The generator of a device does not change if `saved` comes from a training on another kind of device.
    """
    torch.set_rng_state(saved["torch_rng"])
    name, keys, *rest = json.loads(saved["numpy_rng"])
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    state = saved.get("device_rng", {}).get(device.type)
    if state is not None:
        torch.get_device_module(device).set_rng_state(state, device)
