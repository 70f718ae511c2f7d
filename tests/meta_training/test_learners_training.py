"""Meta-training that meets trouble or options: divergence, lower precision, distorted images."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.clusters import cluster_dataset

from metaal_env.datasets.base import ClassDataset
from metaal_env.errors import InputError
from metaal_env.learners import build_learner
from metaal_env.learners.bodies import body_dtype
from metaal_env.meta_training import train as module
from metaal_env.meta_training.config import MetaTrainConfig
from metaal_env.meta_training.few_shot_tasks import distorted
from metaal_env.meta_training.train import meta_train

SETTINGS = {
    "iterations": 20, "classes_per_batch": 6, "items_per_class": 8, "tasks_per_batch": 8, "way": (3, 5),
    "max_labels": 6, "validate_every": 5, "validation_tasks": 60, "learning_rate": 0.01,
}  # fmt: skip


def fresh(**options):
    torch.manual_seed(0)
    return build_learner("maml", (8,), **({"width": 16} | options))


def poison(monkeypatch, at):
    """Makes the meta-loss of the given calls NaN, as a diverged inner loop does; returns the calls."""
    calls, original = [], module.path_loss

    def path_loss(learner, features, tasks):
        calls.append(len(calls))
        loss, logits = original(learner, features, tasks)
        return (loss * float("nan") if calls[-1] in at else loss), logits

    monkeypatch.setattr(module, "path_loss", path_loss)
    return calls


def watch_rates(monkeypatch):
    """The learning rates of all updates."""
    rates, original = [], torch.optim.Adam.step

    def step(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        return original(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    return rates


def cosine(step):
    return 0.01 * (1 + np.cos(np.pi * step / 20)) / 2


def test_a_diverged_update_goes_back_and_on_with_half_the_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, rates = cluster_dataset(), watch_rates(monkeypatch)
    calls = poison(monkeypatch, at={7, 9})
    learner = fresh()
    meta_train(learner, data, data, MetaTrainConfig(**SETTINGS), tmp_path / "learner.pt")
    # 7 updates, back to 5; one update (call 8), back to 5 again; then the remaining 15.
    assert len(calls) == 7 + 1 + 1 + 1 + 15
    expected = [cosine(n) for n in range(7)] + [cosine(5) / 2] + [cosine(n) / 4 for n in range(5, 20)]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)
    assert all(value.isfinite().all() for value in learner.state_dict().values())
    told = capsys.readouterr().out
    assert "diverged at update 7" in told and "back to update 5" in told and "recovery 2 of 3" in told


def test_the_learning_rate_is_named_when_recoveries_are_used_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, at=range(2, 100))
    data, config = cluster_dataset(), MetaTrainConfig(**SETTINGS, recoveries=2)
    with pytest.raises(InputError, match=r"learning_rate=0\.01.* at update 0 "):
        meta_train(fresh(), data, data, config, tmp_path / "learner.pt")


def test_an_inner_loop_that_explodes_is_noticed(tmp_path: Path) -> None:
    learner = fresh(steps=4, depth="all", inner_lr=1e30)
    data, config = cluster_dataset(), MetaTrainConfig(**SETTINGS, recoveries=1)
    with pytest.raises(InputError, match=r"diverged at update 0 \("):
        meta_train(learner, data, data, config, tmp_path / "learner.pt")


def test_interrupted_after_a_recovery_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, config = cluster_dataset(), MetaTrainConfig(**SETTINGS)
    original = module.path_loss
    poison(monkeypatch, at={7})
    whole, resumed = fresh(), fresh()
    meta_train(whole, data, data, config, tmp_path / "whole.pt")
    monkeypatch.setattr(module, "path_loss", original)
    poison(monkeypatch, at={7})
    poisoned, calls = module.path_loss, []

    def killed(*args):
        calls.append(1)
        if len(calls) == 15:  # update 11, after the recovery and a checkpoint
            raise KeyboardInterrupt
        return poisoned(*args)

    monkeypatch.setattr(module, "path_loss", killed)
    with pytest.raises(KeyboardInterrupt):
        meta_train(fresh(), data, data, config, tmp_path / "resumed.pt")
    monkeypatch.setattr(module, "path_loss", original)
    meta_train(resumed, data, data, config, tmp_path / "resumed.pt")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def images(classes=6, items=12):
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
    start = np.mean(
        module.evaluate_learner(build_learner("maml", data.input_shape, width=8), data, config).log_loss
    )
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
        meta_train(fresh(), data, data, MetaTrainConfig(distortion=0.1), tmp_path / "learner.pt")
