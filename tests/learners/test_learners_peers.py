"""Inner learners against peers: `torch.func`, the closed form, scikit-learn."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.func import grad

from metaal_env.learners import MAML, build_learner

VECTOR = (8,)
Params = dict[str, Tensor]


@pytest.fixture()
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("depth", ["head", "last_block", "all"])
def test_meta_gradient_agrees_with_torch_func(depth: str, float64: None) -> None:
    """Second-order gradient of the post-adaptation loss, against a single task written with `torch.func`."""
    torch.manual_seed(0)
    learner = MAML(VECTOR, width=6, depth=depth, steps=2).double()
    x, query = torch.randn(5, 8).double(), torch.randn(4, 8).double()
    y, target = torch.tensor([0, 0, 1, 2, 1]), torch.tensor([0, 1, 2, 2])
    names = dict(learner.named_parameters())
    blocks = ["head", "last_block", "all"].index(depth)
    inner = [n for n in names if n.startswith("body.") and int(n.split(".")[2]) >= 2 - blocks]

    def embed(params: Params, data: Tensor) -> Tensor:
        data = torch.nn.functional.normalize(data, dim=1)
        for i in range(2):
            data = data @ params[f"body.blocks.{i}.weight"].T + params[f"body.blocks.{i}.bias"]
            data = torch.relu(torch.nn.functional.layer_norm(data, (6,)))
        return data

    def logits(params: Params, fast: Params, data: Tensor) -> Tensor:
        distance = (embed(params | fast, data).unsqueeze(1) - fast["prototypes"]).square().sum(-1)
        counts = torch.tensor([2.0, 2.0, 1.0]).double()
        return fast["bias"] - params["log_scale"].exp() * distance / (1 + params["log_shrink"].exp() / counts)

    def reference(params: Params) -> Tensor:
        h = embed(params, x)
        fast = {n: params[n] for n in inner}
        fast["prototypes"] = torch.stack([h[y == c].mean(0) for c in range(3)])
        fast["bias"] = params["count_weight"] * torch.tensor([2.0, 2.0, 1.0]).double().log()
        for step in range(2):
            loss = lambda f: torch.nn.functional.cross_entropy(logits(params, f, x), y)  # noqa: E731
            gradients = grad(loss)(fast)
            fast = {
                n: v
                - params["log_lr." + n.removeprefix("body.blocks.").replace(".", "_")][step].exp()
                * gradients[n]
                for n, v in fast.items()
            }
        return torch.nn.functional.cross_entropy(logits(params, fast, query), target)

    expected = grad(reference)({n: p.detach() for n, p in names.items()})
    features = learner.prepare(torch.cat([x, query]))
    features = features.unsqueeze(0)
    adapted = learner.adapt(
        features[:, :5], y[None], torch.ones(1, 5, dtype=torch.bool), torch.ones(1, 3, dtype=torch.bool)
    )
    loss = torch.nn.functional.cross_entropy(learner.predict(adapted, features[:, 5:])[0], target)
    loss.backward()
    for name, parameter in names.items():
        actual = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(actual, expected[name], atol=1e-9, rtol=1e-6, msg=name)


def test_ridge_agrees_with_the_closed_form() -> None:
    learner = build_learner("ridge", VECTOR, regularisation=0.7, scale=1.0, intercept=True)
    x = torch.nn.functional.normalize(torch.randn(9, 8), dim=1)
    y = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2])
    every = torch.ones(1, 9, dtype=torch.bool)
    adapted = learner.adapt(x[None], y[None], every, torch.ones(1, 3, dtype=torch.bool))
    augmented = torch.cat([x, torch.ones(9, 1)], 1).double()
    weights = torch.linalg.solve(
        augmented.T @ augmented + 0.7 * torch.eye(9).double(), augmented.T @ torch.eye(3).double()[y]
    )
    torch.testing.assert_close(
        learner.predict(adapted, x[None])[0].double(), augmented @ weights, atol=1e-4, rtol=1e-4
    )


def test_logistic_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 8))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y = rng.integers(0, 3, 30)
    learner = build_learner("logistic", VECTOR, regularisation=0.05, iterations=300, intercept=True)
    inputs = torch.from_numpy(x).float()[None]
    every = torch.ones(1, 30, dtype=torch.bool)
    adapted = learner.adapt(inputs, torch.from_numpy(y)[None], every, torch.ones(1, 3, dtype=torch.bool))
    ours = torch.softmax(learner.predict(adapted, inputs)[0], -1).detach().numpy()
    # scikit-learn leaves the intercept unpenalised: give it the penalised one as a column, as ours has.
    augmented = np.c_[x, np.ones(30)]
    peer = LogisticRegression(C=1 / 0.05, fit_intercept=False, tol=1e-10, max_iter=10_000).fit(augmented, y)
    np.testing.assert_allclose(ours, peer.predict_proba(augmented), atol=2e-4)
