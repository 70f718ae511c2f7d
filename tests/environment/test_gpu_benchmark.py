"""The benchmark of a GPU: refused in one sentence without one, and its measurements run on a simulated one."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from helpers.hostile import assert_sentence
from helpers.paths import ROOT
from helpers.simulated_gpu import DEVICE, simulated_gpu
from helpers.simulated_tasks import data

from metaal_env.runtime.command_line import run_cli

FILE = ROOT / "benchmarks" / "speed" / "gpu.py"


@pytest.fixture(scope="module")
def gpu() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_benchmark", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("device", ["cuda", "cpu", "warp"])
def test_it_is_refused_without_a_gpu(device: str, gpu: Any, capsys: pytest.CaptureFixture[str]) -> None:
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert run_cli(lambda: gpu.main(gpu.Config(device=device))) == 2
    shown = capsys.readouterr()
    assert not shown.out
    assert_sentence(shown.err, "device")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:dataset='clusters'")
def test_its_measurements_run(gpu: Any) -> None:
    images = data("image")
    config = gpu.Config(dataset=images, depths=("all",), steps=1, repeats=1, updates=1, device=DEVICE)
    with simulated_gpu():
        for depth in config.depths:
            words = gpu.throughput(config, depth, 2).replace(",", "").split()
            assert float(words[0]) > 0 and float(words[2]) > 0
        assert float(gpu.meta_training(config, images, "bfloat16").split()[0]) > 0
