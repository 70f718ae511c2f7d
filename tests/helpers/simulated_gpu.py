"""A simulated GPU: tensors on the CPU that claim another device, to check code for GPUs on machines without one.

Results are those of the CPU. Whatever CUDA refuses raises CUDA's `RuntimeError` or `TypeError`: tensors of two
devices in one operation (scalars and indices on the CPU excepted), NumPy arrays of device tensors, another device's
generator. A `Log` counts operations on the device, each of which launches one kernel or more, and how often the host
waits for the device, with the lines that led to it.

Not noticed: too little memory, kernels that CUDA lacks (see `helpers.cuda_kernels`), branches on
``device.type == "cuda"``, and fused optimisers. The device is PyTorch's back end for Python code (PrivateUse1); under
the name ``cuda`` autograd would need a build with CUDA.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from types import CodeType, FrameType
from typing import Any
from unittest import mock

import numpy as np
import torch
from helpers.fused_lstm import lstm_cell, lstm_cell_backward
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

DEVICE = "simulated"
CPU = torch.device("cpu")

WAITING = re.compile(
    "_local_scalar_dense|equal|nonzero|masked_select|bincount|_?unique.*|repeat_interleave.Tensor"
    "|multinomial|_linalg_check_errors|_linalg_eigh|_linalg_svd"
)
"""Operations whose result, or its shape, the host must read."""

INDEXING = re.compile("_?(unsafe_)?index(_put)?(_impl)?_?")
TAKES_SCALARS = re.compile("_?(masked_|index_)?(fill|put)(_impl)?_?")
FOREIGN = re.compile(f"site-packages|/lib/python3|^<|{re.escape(__file__)}")
OUTSIDE = ("pytest", "")
"""Place of what runs tests: nothing above it led to an operation."""

KERNELS: dict[str, Callable[..., Any]] = {
    "_thnn_fused_lstm_cell": lstm_cell,
    "_thnn_fused_lstm_cell_backward_impl": lstm_cell_backward,
}
"""What to compute for operations that only GPUs have, by name."""

_device_generators: dict[int, torch.Generator] = {}


class Log:
    """Counts by operation, types of its tensors, and own lines as ``file:line function``, innermost first."""

    def __init__(self) -> None:
        self.launches: Counter[tuple[str, ...]] = Counter()
        self.waits: Counter[tuple[str, ...]] = Counter()

    def clear(self) -> None:
        self.launches.clear()
        self.waits.clear()

    def __str__(self) -> str:
        parts = [f"{self.launches.total()} launches, {self.waits.total()} waits"]
        for name, counts in (("launches", self.launches), ("waits", self.waits)):
            parts += [f"{n:7d} {name}: {' < '.join(stack[:4])}" for stack, n in counts.most_common(20) if n]
        return "\n".join(parts)


class SimulatedTensor(Tensor):
    """Holds a tensor on the CPU and says that it lies on the device."""

    _host: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls: type[SimulatedTensor], host: Tensor) -> SimulatedTensor:
        layout = {"strides": host.stride(), "storage_offset": host.storage_offset(), "dtype": host.dtype}
        made = Tensor._make_wrapper_subclass(cls, host.size(), device=f"{DEVICE}:0", **layout)
        made._host = host
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    def numpy(self, **_: Any) -> np.ndarray:
        raise TypeError("can't convert a device tensor to numpy; use Tensor.cpu() first")

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.detach().cpu().__reduce_ex__(protocol)


class _Mode(TorchDispatchMode):
    """Sees functions without tensors among their arguments, which make new ones."""

    log = Log()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    inputs, device, name = _tensors((args, kwargs)), kwargs.get("device"), func._opname
    ours = {id(x._host): x for x in inputs if isinstance(x, SimulatedTensor)}
    on_device = isinstance(args[0], SimulatedTensor) if name == "copy_" else bool(ours)
    on_device = on_device if device is None else device.type == DEVICE
    if not (ours or on_device or kwargs.get("generator")):
        return func(*args, **kwargs)
    waits = _waits(func, args, kwargs, inputs, on_device)
    hosts = _nested(lambda x: CPU if isinstance(x, torch.device) else getattr(x, "_host", x), (args, kwargs))
    random = on_device and torch.Tag.nondeterministic_seeded in func.tags and not kwargs.get("generator")
    with _DeviceModule.own_random_numbers() if random else nullcontext():
        result = KERNELS.get(name, func)(*hosts[0], **hosts[1])
    outputs, storages = _tensors(result), {x._host.untyped_storage()._cdata for x in ours.values()}
    new = any(x.numel() and x.untyped_storage()._cdata not in storages for x in outputs)  # else a view
    launches = on_device and (new or func._schema.is_mutable or not outputs) and "empty" not in name
    if waits or launches:
        _note(name, inputs, int(launches), waits)
    if torch.Tag.inplace_view in func.tags:  # as `unsqueeze_`: the claimed shape changes, too
        with no_dispatch():
            func(*args, **kwargs)
    wrapped = {id(x): SimulatedTensor(x) for x in outputs if on_device} | ours
    return _nested(lambda x: wrapped.get(id(x), x), result)


def _waits(func: Any, args: Any, kwargs: dict[str, Any], inputs: list[Tensor], on_device: bool) -> int:
    """Returns how often the host waits. Raises: what CUDA would."""
    name = func._opname
    ours = any(isinstance(x, SimulatedTensor) for x in inputs)
    strangers = [x for x in inputs if ours and not isinstance(x, SimulatedTensor)]
    generator = kwargs.get("generator")
    if generator is not None and (generator._cdata in _device_generators) != on_device:
        raise RuntimeError(f"{name}: the generator belongs to another device")
    if name in ("copy_", "_to_copy"):
        return int(isinstance(args[name == "copy_"], SimulatedTensor) != on_device)
    waits = int(ours and bool(WAITING.fullmatch(name) or WAITING.fullmatch(f"{name}.{func._overloadname}")))
    if INDEXING.fullmatch(name) and isinstance(args[0], SimulatedTensor):  # indices may lie on the CPU
        indices = _tensors(args[1])
        strangers = [x for x in args[2:3] if not isinstance(x, SimulatedTensor)]
        masks, scalar = sum(x.dtype == torch.bool for x in indices), "put" in name and args[2].dim() == 0
        if not (masks and scalar):  # that is a masked_fill; to other places CUDA copies a scalar first
            waits += masks + scalar + sum(not isinstance(x, SimulatedTensor) for x in indices)
    scalars = torch.Tag.pointwise in func.tags or bool(TAKES_SCALARS.fullmatch(name))
    if any(x.dim() or not scalars or (func._schema.is_mutable and x is args[0]) for x in strangers):
        found = ", ".join(f"{x.device.type}{list(x.shape)}" for x in inputs)
        raise RuntimeError(f"{name}: expected all tensors to be on the same device, but found {found}")
    return waits


def _note(name: str, inputs: list[Tensor], launches: int, waits: int) -> None:
    own: list[str] = []
    frame: FrameType | None = sys._getframe(3)
    while frame is not None and (place := _place(frame.f_code)) != OUTSIDE:
        if place is not None:
            own.append(f"{place[0]}:{frame.f_lineno} {place[1]}")
        frame = frame.f_back
    stack = (" ".join([name, *(str(x.dtype).removeprefix("torch.") for x in inputs)]), *own)
    _Mode.log.launches[stack] += launches
    _Mode.log.waits[stack] += waits


@cache
def _place(code: CodeType) -> tuple[str, str] | None:
    """Returns file and function, None for code that is not one's own, or `OUTSIDE`."""
    if "/_pytest/" in code.co_filename:
        return OUTSIDE
    if FOREIGN.search(code.co_filename):
        return None
    return "/".join(code.co_filename.split("/")[-2:]), code.co_name


def _nested(function: Callable[[Any], Any], values: Any) -> Any:
    """Applies `function` to what is in tuples, lists and dictionaries; faster than PyTorch's own for any container."""
    if isinstance(values, (tuple, list)):
        made = [_nested(function, value) for value in values]
        return made if isinstance(values, list) else tuple(made)
    if isinstance(values, dict):
        return {key: _nested(function, value) for key, value in values.items()}
    return function(values)


def _tensors(values: Any) -> list[Tensor]:
    found: list[Tensor] = []
    _nested(lambda x: found.append(x) if isinstance(x, Tensor) else None, values)
    return found


class _Generator(torch.Generator):
    """Stands for `torch.Generator`; those of the device draw the CPU's numbers."""

    def __new__(cls, device: torch.device | str = "cpu") -> Any:
        made = torch._C.Generator("cpu" if torch.device(device).type == DEVICE else device)
        if torch.device(device).type == DEVICE:
            _device_generators[made._cdata] = made
        return made


class _DeviceModule(backend_registration._DummyBackendModule):
    """What ``torch.cuda`` is to CUDA; `torch.get_device_module` returns it."""

    _random_state = torch.get_rng_state()

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]

    def manual_seed_all(self, seed: int) -> None:
        self.set_rng_state(torch._C.Generator("cpu").manual_seed(seed).get_state())

    def get_rng_state(self, device: Any = None) -> Tensor:
        return self._random_state.clone()

    def set_rng_state(self, state: Tensor, device: Any = None) -> None:
        type(self)._random_state = state.clone()

    @classmethod
    @contextmanager
    def own_random_numbers(cls) -> Iterator[None]:
        """Within, random numbers come from the device's generator, which is another than the CPU's."""
        before = torch.get_rng_state()
        torch.set_rng_state(cls._random_state)
        try:
            yield
            cls._random_state = torch.get_rng_state()
        finally:
            torch.set_rng_state(before)


@contextmanager
def simulated_gpu() -> Iterator[Log]:
    """Yields the log; within, ``device="simulated"`` works."""
    _register()
    _Mode.log = Log()
    torch._C._set_only_lift_cpu_tensors(True)  # else `torch.tensor` copies to the device unseen
    torch.__future__.set_swap_module_params_on_conversion(True)  # `Module.to` keeps parameters' identity
    one_thread = torch.autograd.set_multithreading_enabled(False)  # backward passes on the mode's own thread
    try:
        with _Mode(), one_thread, mock.patch("torch.Generator", _Generator):
            yield _Mode.log
    finally:
        torch._C._set_only_lift_cpu_tensors(False)
        torch.__future__.set_swap_module_params_on_conversion(False)


def _register() -> None:
    if torch._C._get_privateuse1_backend_name() == DEVICE:
        return
    module: Any = _DeviceModule()
    backend_registration._setup_privateuseone_for_python_backend(DEVICE, module)
    module.autocast = torch.library.Library("_", "IMPL", "AutocastPrivateUse1")  # changes nothing
    module.autocast.fallback(torch.library.fallthrough_kernel)
