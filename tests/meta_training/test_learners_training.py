"""Meta-training that meets trouble or options: divergence, lower precision, distorted images."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.clusters import cluster_dataset
from torch.optim.optimizer import register_optimizer_step_pre_hook

from metaal_env.datasets.base import ClassDataset
from metaal_env.errors import InputError
from metaal_env.learners import MAML, build_learner
from metaal_env.learners.bodies import body_dtype
from metaal_env.meta_training.config import MetaTrainConfig
from metaal_env.meta_training.evaluate import evaluate_learner
from metaal_env.meta_training.few_shot_tasks import distorted
from metaal_env.meta_training.train import meta_train

SETTINGS = {
    "iterations": 20, "classes_per_batch": 6, "items_per_class": 8, "tasks_per_batch": 8, "way": (3, 5),
    "max_labels": 6, "validate_every": 5, "validation_tasks": 60, "learning_rate": 0.01,
}  # fmt: skip


class Faulty(MAML):
    """A learner whose meta-loss of every update is multiplied by `factor(number of earlier calls)`."""

    def __init__(self, factor: Callable[[int], float] = lambda call: 1.0, **options: Any):
        torch.manual_seed(0)
        super().__init__((8,), **({"width": 16} | options))
        self.factor, self.calls = factor, 0

    def path_weights(self, length: int) -> list[float]:
        factor = self.factor(self.calls)
        self.calls += 1
        return [weight * factor for weight in super().path_weights(length)]


def diverging(*at: int) -> Callable[[int], float]:
    """NaN at the given calls, as after a diverged inner loop."""
    return lambda call: float("nan") if call in at else 1.0


@pytest.fixture
def rates() -> Iterator[list[float]]:
    """The learning rates of all updates."""
    seen: list[float] = []
    hook = register_optimizer_step_pre_hook(
        lambda optimizer, *_: seen.append(optimizer.param_groups[0]["lr"])
    )
    yield seen
    hook.remove()


def cosine(step: int) -> float:
    return 0.01 * (1 + np.cos(np.pi * step / 20)) / 2


def test_a_diverged_update_goes_back_and_on_with_half_the_rate(
    tmp_path: Path, rates: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    data, learner = cluster_dataset(), Faulty(diverging(7, 9))
    meta_train(learner, data, data, MetaTrainConfig(**SETTINGS), tmp_path / "learner.pt")
    # 7 updates, back to 5; one update (call 8), back to 5 again; then the remaining 15.
    assert learner.calls == 7 + 1 + 1 + 1 + 15
    expected = [cosine(n) for n in range(7)] + [cosine(5) / 2] + [cosine(n) / 4 for n in range(5, 20)]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)
    assert all(value.isfinite().all() for value in learner.state_dict().values())
    told = capsys.readouterr().out
    assert "diverged at update 7" in told and "back to update 5" in told and "recovery 2 of 3" in told


def test_the_learning_rate_is_named_when_recoveries_are_used_up(tmp_path: Path) -> None:
    learner = Faulty(diverging(*range(2, 100)))
    data, config = cluster_dataset(), MetaTrainConfig(**SETTINGS, recoveries=2)
    with pytest.raises(InputError, match=r"learning_rate=0\.01.* at update 0 "):
        meta_train(learner, data, data, config, tmp_path / "learner.pt")


def test_an_inner_loop_that_explodes_is_noticed(tmp_path: Path) -> None:
    learner = Faulty(steps=4, depth="all", inner_lr=1e30)
    data, config = cluster_dataset(), MetaTrainConfig(**SETTINGS, recoveries=1)
    with pytest.raises(InputError, match=r"diverged at update 0 \("):
        meta_train(learner, data, data, config, tmp_path / "learner.pt")


def test_interrupted_after_a_recovery_ends_with_the_same_weights(tmp_path: Path) -> None:
    data, config = cluster_dataset(), MetaTrainConfig(**SETTINGS)
    whole, resumed = Faulty(diverging(7)), Faulty()
    meta_train(whole, data, data, config, tmp_path / "whole.pt")

    def killed(call: int) -> float:
        if call == 14:  # update 11, after the recovery and a checkpoint
            raise KeyboardInterrupt
        return diverging(7)(call)

    with pytest.raises(KeyboardInterrupt):
        meta_train(Faulty(killed), data, data, config, tmp_path / "resumed.pt")
    meta_train(resumed, data, data, config, tmp_path / "resumed.pt")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def images(classes: int = 6, items: int = 12) -> ClassDataset:
    torch.manual_seed(0)
    shapes = torch.randint(0, 2, (classes, 1, 1, 7, 7)).repeat_interleave(2, -1).repeat_interleave(2, -2)
    noise = torch.randint(0, 80, (classes, items, 1, 14, 14))
    pixels = (150 * shapes + noise).flatten(0, 1).to(torch.uint8)
    names = tuple(map(str, range(classes)))
    return ClassDataset(
        "blocks", pixels, torch.arange(classes).repeat_interleave(items), names, names, "image"
    )


@pytest.mark.parametrize("depth", ["head", "all"])
def test_bfloat16_learns_like_float32(depth: str, tmp_path: Path) -> None:
    """Autocast as on a GPU, on the CPU: second derivatives included when all layers are adapted."""
    data, losses = images(), {}
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(0)
        learner = build_learner("maml", data.input_shape, width=8, depth=depth)
        config = MetaTrainConfig(
            **SETTINGS | {"iterations": 6, "tasks_per_batch": 4, "validation_tasks": 30}, precision=precision
        )
        report = meta_train(learner, data, data, config, tmp_path / f"{precision}.pt")
        assert all(p.dtype == torch.float32 for p in learner.parameters())
        losses[precision] = np.mean(report.log_loss)
    start = np.mean(evaluate_learner(build_learner("maml", data.input_shape, width=8), data, config).log_loss)
    assert losses["bfloat16"] < start and losses["bfloat16"] == pytest.approx(losses["float32"], abs=0.1)


def test_lower_precision_reaches_the_body_alone_and_ends_with_its_context() -> None:
    learner = build_learner("protonet", (1, 14, 14), width=4)
    inputs = torch.randint(0, 256, (5, 1, 14, 14), dtype=torch.uint8)
    exact = learner.prepare(inputs)
    with body_dtype(learner, torch.bfloat16):
        rough = learner.prepare(inputs)
    assert rough.dtype == torch.float32 and not torch.equal(rough, exact)
    torch.testing.assert_close(rough, exact, atol=0.1, rtol=0.05)
    assert torch.equal(learner.prepare(inputs), exact)


def test_distortion_moves_images_a_little_and_each_its_own_way() -> None:
    picture = torch.zeros(1, 1, 21, 21)
    picture[..., 10, 10] = 255
    batch = picture.expand(200, -1, -1, -1)
    assert torch.allclose(distorted(batch, 0.0, np.random.default_rng(0)), batch, atol=1e-3)
    moved = distorted(batch, 0.1, np.random.default_rng(0))
    grid = torch.arange(21.0)
    weight = moved.sum((1, 2, 3))
    x = (moved.sum((1, 2)) @ grid / weight).numpy() - 10
    y = (moved.sum((1, 3)) @ grid / weight).numpy() - 10
    # Half the strength, in units of half a side of 21 pixels.
    np.testing.assert_allclose([x.std(), y.std()], 0.05 * 10.5, rtol=0.2)
    assert abs(np.corrcoef(x, y)[0, 1]) < 0.25
    assert torch.equal(moved, distorted(batch, 0.1, np.random.default_rng(0)))


def test_settings_that_cannot_be_are_refused(tmp_path: Path) -> None:
    for field, value in (("distortion", -1.0), ("recoveries", -1), ("precision", "int8")):
        with pytest.raises(InputError, match=field):
            MetaTrainConfig(**{field: value})
    data = cluster_dataset()
    with pytest.raises(InputError, match="images"):
        meta_train(Faulty(), data, data, MetaTrainConfig(distortion=0.1), tmp_path / "learner.pt")
