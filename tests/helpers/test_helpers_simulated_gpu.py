"""The simulated GPU refuses what CUDA refuses, counts what makes the host wait, and computes what the CPU does."""

import copy
import io

import numpy as np
import pytest
import torch
from helpers.cuda_kernels import missing_kernels
from helpers.simulated_gpu import DEVICE, simulated_gpu

# fmt: off
REFUSED = {
    "add": lambda d, c: d + c,
    "add to a scalar's left": lambda d, c: torch.zeros((), device=DEVICE) + c,
    "matmul": lambda d, c: d @ c.T,
    "matmul with a vector": lambda d, c: d @ torch.zeros(3),
    "cat": lambda d, c: torch.cat([d, c]),
    "cat of scalars": lambda d, c: torch.stack([d.sum(), c.sum()]),
    "where": lambda d, c: torch.where(c > 0, d, d),
    "gather": lambda d, c: d.gather(1, torch.zeros(2, 1, dtype=torch.long)),
    "scatter": lambda d, c: d.scatter(1, torch.zeros(2, 1, dtype=torch.long, device=DEVICE), c),
    "index of the CPU by the device": lambda d, c: c[torch.tensor([0], device=DEVICE)],
    "index_put": lambda d, c: d.index_put_((torch.tensor([0, 1], device=DEVICE),), c),
    "index_add": lambda d, c: d.index_add_(0, torch.tensor([0, 1]), d),
    "arange without device": lambda d, c: (torch.arange(3) == d),
    "out": lambda d, c: torch.add(d, d, out=c),
    "in place on the CPU": lambda d, c: c.sum().add_(d.sum()),
    "quantile": lambda d, c: torch.quantile(d, torch.tensor([0.1, 0.9])),
    "numpy": lambda d, c: d.numpy(),
    "asarray": lambda d, c: np.asarray(d),
    "generator": lambda d, c: torch.randn(2, generator=torch.Generator(), device=DEVICE),
    "the device's generator": lambda d, c: torch.randn(2, generator=torch.Generator(DEVICE)),
    "from_numpy": lambda d, c: d * torch.from_numpy(np.ones(3, dtype=np.float32)),
}
ALLOWED = {  # and how often the host waits
    "numbers": (lambda d, c: (d + 1.5).clamp(min=0), 0),
    "a scalar of the CPU": (lambda d, c: d * torch.tensor(2.0) + c.sum(), 0),
    "item": (lambda d, c: d.sum().item(), 1),
    "bool": (lambda d, c: bool((d > 0).any()), 1),
    "int": (lambda d, c: int(d.argmax()), 1),
    "tolist": (lambda d, c: d.tolist(), 1),
    "iteration": (lambda d, c: [int(x) for x in d[0]], 3),
    "cpu": (lambda d, c: d.cpu().numpy(), 1),
    "to the device": (lambda d, c: c.to(DEVICE), 1),
    "torch.tensor": (lambda d, c: torch.tensor([1.0, 2.0], device=DEVICE), 1),
    "copy_": (lambda d, c: d.copy_(c), 1),
    "a slice": (lambda d, c: d[:, 1:].t().reshape(-1), 0),
    "a mask": (lambda d, c: d[d > 0], 1),
    "two masks": (lambda d, c: d[(d > -9)[:, 0], (d > -9)[0] & (torch.arange(3, device=DEVICE) < 2)], 2),
    "filling a mask": (lambda d, c: d.__setitem__(d > 0, 0.0), 0),
    "masked_fill": (lambda d, c: d.masked_fill(d > 0, 0.0), 0),
    "indices of the CPU": (lambda d, c: d[torch.tensor([0, 1])], 1),
    "a number into places": (lambda d, c: d.__setitem__(torch.zeros(1, dtype=torch.long, device=DEVICE), 1.0), 1),
    "nonzero": (lambda d, c: torch.nonzero(d), 1),
    "unique": (lambda d, c: d.unique(), 1),
    "equal": (lambda d, c: torch.equal(d, d), 1),
    "repeat_interleave": (lambda d, c: d.repeat_interleave(2, 0), 0),
    "repeat_interleave by a tensor": (lambda d, c: d.repeat_interleave(d.argmax(1), 0), 1),
    "solve": (lambda d, c: torch.linalg.solve(torch.eye(3, device=DEVICE), d.T), 1),
    "all on the CPU": (lambda d, c: torch.multinomial(c.abs(), 1, generator=torch.Generator()).tolist(), 0),
    "like one on the CPU": (lambda d, c: d + torch.zeros_like(c, device=DEVICE), 0),
    "one_hot": (lambda d, c: torch.nn.functional.one_hot(d.argmax(1), 3), 0),
    "randn": (lambda d, c: torch.randn(2, generator=torch.Generator(DEVICE).manual_seed(0), device=DEVICE), 0),
}
# fmt: on


@pytest.mark.parametrize("name", REFUSED)
def test_what_cuda_refuses(name: str) -> None:
    with simulated_gpu(), pytest.raises((RuntimeError, TypeError)):
        REFUSED[name](torch.randn(2, 3).to(DEVICE), torch.randn(2, 3))


@pytest.mark.parametrize("name", ALLOWED)
def test_what_makes_the_host_wait(name: str) -> None:
    with simulated_gpu() as log:
        d, c = torch.randn(2, 3).to(DEVICE), torch.randn(2, 3)
        before = log.waits.total()
        ALLOWED[name][0](d, c)
        assert log.waits.total() - before == ALLOWED[name][1], str(log)


def test_views_share_memory_and_launch_nothing() -> None:
    with simulated_gpu() as log:
        x = torch.zeros(3, 4, device=DEVICE)
        log.clear()
        row = x[1].view(2, 2)
        assert log.launches.total() == 0
        row += 1
        assert log.launches.total() == 1 and x.sum().item() == 4


def test_training_equals_that_on_the_cpu() -> None:
    def train(device: str) -> list[torch.Tensor]:
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(16, 2))
        parameters = list(net.parameters())
        optimizer = torch.optim.AdamW(parameters, lr=0.1)
        net.to(device)
        assert all(a is b for a, b in zip(parameters, net.parameters(), strict=True))
        x, y = torch.randn(5, 1, 4, 4).to(device), torch.tensor([0, 1, 0, 1, 1], device=device)
        for _ in range(3):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(x), y).backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
        file = io.BytesIO()
        torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, file)
        file.seek(0)
        saved = torch.load(file, map_location="cpu", weights_only=True)
        assert all(a is b for a, b in zip(parameters, net.cpu().to(device).parameters(), strict=True))
        twin = copy.deepcopy(net)
        twin.load_state_dict(saved["net"])
        return [twin(x).detach().cpu(), saved["net"]["0.weight"]]

    with simulated_gpu() as log:
        ours = train(DEVICE)
    assert log.launches.total() > 100
    assert all(torch.equal(a, b) for a, b in zip(ours, train("cpu"), strict=True))


def test_second_derivatives_and_shapes_changed_in_place() -> None:
    def gradient(device: str) -> torch.Tensor:
        torch.manual_seed(0)
        x, w = torch.randn(3, 4, 5, 5).to(device).requires_grad_(), torch.randn(4, 2, 3, 3).to(device)
        y = torch.nn.functional.group_norm(torch.nn.functional.conv2d(x, w, groups=2, padding=1), 1)
        (first,) = torch.autograd.grad((y**3).sum(), x, create_graph=True)
        return torch.autograd.grad((first**2).sum(), x)[0].cpu()

    with simulated_gpu():
        assert torch.zeros(2, device=DEVICE).unsqueeze_(0).t_().shape == (2, 1)
        ours = gradient(DEVICE)
    assert torch.equal(ours, gradient("cpu"))


def test_the_fused_lstm_cell_equals_that_of_the_cpu() -> None:
    def gradients(device: str) -> list[torch.Tensor]:
        torch.manual_seed(0)
        cell, x = torch.nn.LSTMCell(3, 4).to(device), torch.randn(2, 5, 3).to(device)
        state = cell(x[0])
        h, c = cell(x[1], state)
        (h.sum() + c.square().sum()).backward()
        return [h.detach().cpu(), c.detach().cpu(), *(weight.grad.cpu() for weight in cell.parameters())]

    with simulated_gpu() as log:
        ours = gradients(DEVICE)
    assert any("_thnn_fused_lstm_cell" in stack[0] for stack in log.launches)
    torch.testing.assert_close(ours, gradients("cpu"))


def test_kernels_that_cuda_lacks() -> None:
    pytest.importorskip("expecttest")

    with simulated_gpu() as log:
        x = torch.zeros(2, 3, dtype=torch.bool, device=DEVICE)
        x.scatter_reduce(1, torch.zeros(2, 1, dtype=torch.long, device=DEVICE), x, "amax")
        x.long().scatter_reduce(1, torch.zeros(2, 1, dtype=torch.long, device=DEVICE), x.long(), "amax")
    assert [line.split(":")[0] for line in missing_kernels(log)] == ["scatter_reduce bool int64 bool"]


def test_the_device_has_a_generator_of_its_own() -> None:
    with simulated_gpu():
        device = torch.get_device_module(DEVICE)
        torch.manual_seed(3)
        first, state, ours = (
            torch.randn(2, device=DEVICE).cpu(),
            device.get_rng_state(),
            torch.get_rng_state(),
        )
        second = torch.ones(1, 9, device=DEVICE).multinomial(5).tolist()
        assert torch.equal(ours, torch.get_rng_state()), "the CPU's is left alone"
        assert torch.equal(first, torch.randn(2)), "one seed for all devices"
        device.set_rng_state(state)
        assert torch.ones(1, 9, device=DEVICE).multinomial(5).tolist() == second
