"""Inner learners that learn their updates or solve a convex problem, and what meta-training offers them."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.clusters import cluster_dataset
from scipy.optimize import LinearConstraint, minimize
from torch import Tensor
from torch.func import grad
from torch.nn.functional import cross_entropy

from metaal_env.errors import InputError
from metaal_env.learners import LEARNERS, MAML, build_learner
from metaal_env.learners.svm import project_to_simplex
from metaal_env.meta_training.config import MetaTrainConfig
from metaal_env.meta_training.evaluate import evaluate_learner
from metaal_env.meta_training.few_shot_tasks import draw_tasks
from metaal_env.meta_training.loss import path_loss
from metaal_env.meta_training.train import meta_train

VECTOR = (8,)
Params = dict[str, Tensor]


@pytest.fixture()
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def task() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Five labels of three classes, four queries; float64."""
    x, query = torch.randn(5, 8), torch.randn(4, 8)
    return x, torch.tensor([0, 0, 1, 2, 1]), query, torch.tensor([0, 1, 2, 2])


def meta_gradients(learner: MAML, x: Tensor, y: Tensor, query: Tensor, target: Tensor) -> Params:
    features = learner.prepare(torch.cat([x, query])).unsqueeze(0)
    path = learner.adapt_path(
        features[:, :5], y[None], torch.ones(1, 5, dtype=torch.bool), torch.ones(1, 3, dtype=torch.bool)
    )
    weights = learner.path_weights(len(path))
    losses = [cross_entropy(learner.predict(state, features[:, 5:])[0], target) for state in path]
    sum(w * loss for w, loss in zip(weights, losses, strict=True)).backward()
    return {
        n: torch.zeros_like(p) if p.grad is None else p.grad.clone() for n, p in learner.named_parameters()
    }


def embed(params: Params, data: Tensor) -> Tensor:
    data = torch.nn.functional.normalize(data, dim=1)
    for i in range(2):
        data = data @ params[f"body.blocks.{i}.weight"].T + params[f"body.blocks.{i}.bias"]
        data = torch.relu(torch.nn.functional.layer_norm(data, (6,)))
    return data


def reference_gradients(
    learner: MAML,
    start: Callable[[Params], Params],
    logits: Callable[[Params, Params, Tensor], Tensor],
    rate: Callable[[Params, str, int], Tensor],
    weights: Sequence[float],
    x: Tensor,
    y: Tensor,
    query: Tensor,
    target: Tensor,
    first_order: bool = False,
) -> Params:
    """Meta-gradient of the weighted path loss of one task, written with `torch.func`."""

    def loss_of(params: Params) -> Tensor:
        fast, total = start(params), 0.0
        for step, weight in enumerate(weights):
            inner = grad(lambda f, p=params: cross_entropy(logits(p, f, x), y))(fast)
            if first_order:
                inner = {n: g.detach() for n, g in inner.items()}
            fast = {n: v - rate(params, n, step) * inner[n] for n, v in fast.items()}
            if weight:
                total = total + weight * cross_entropy(logits(params, fast, query), target)
        return total

    params = {n: p.detach().clone().requires_grad_() for n, p in learner.named_parameters()}
    found = torch.autograd.grad(loss_of(params), list(params.values()), allow_unused=True)
    return {
        n: torch.zeros_like(p) if g is None else g for (n, p), g in zip(params.items(), found, strict=True)
    }


def prototype_start(x: Tensor, y: Tensor) -> Callable[[Params], Params]:
    def start(params: Params) -> Params:
        h = embed(params, x)
        fast = {n: p.view_as(p) for n, p in params.items() if n.startswith("body.")}
        fast["prototypes"] = torch.stack([h[y == c].mean(0) for c in range(3)])
        fast["bias"] = params["count_weight"] * torch.tensor([2.0, 2.0, 1.0]).log()
        return fast

    return start


def prototype_logits(params: Params, fast: Params, data: Tensor) -> Tensor:
    distance = (embed(params | fast, data).unsqueeze(1) - fast["prototypes"]).square().sum(-1)
    shrunk = 1 + params["log_shrink"].exp() / torch.tensor([2.0, 2.0, 1.0])
    return fast["bias"] - params["log_scale"].exp() * distance / shrunk


def key(name: str) -> str:
    return name.removeprefix("body.blocks.").replace(".", "_")


@pytest.mark.parametrize(
    ("options", "update", "weights", "first_order"),
    [
        ({"multi_step_until": 10}, 5, [0.25, 0.75], False),
        ({"multi_step_until": 10}, 10, [0.0, 1.0], False),
        ({"first_order_until": 10}, 9, [0.0, 1.0], True),
        ({"first_order_until": 10}, 10, [0.0, 1.0], False),
        ({"rates": "parameter"}, 0, [0.0, 1.0], False),
        ({"first_order": True}, 0, [0.0, 1.0], True),
    ],
)
def test_meta_gradients_of_the_variants_agree_with_torch_func(
    options: dict[str, Any], update: int, weights: list[Any], first_order: bool, float64: None
) -> None:
    torch.manual_seed(0)
    learner = MAML(VECTOR, width=6, depth="all", steps=2, **options).double()
    learner.start_update(update)
    x, y, query, target = task()

    def rate(params: Params, name: str, step: int) -> Tensor:
        if "rates" in options:
            return params[f"lr.{key(name)}"]
        return params[f"log_lr.{key(name)}"][step].exp()

    expected = reference_gradients(
        learner, prototype_start(x, y), prototype_logits, rate, weights, x, y, query, target, first_order
    )
    actual = meta_gradients(learner, x, y, query, target)
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, atol=1e-9, rtol=1e-6, msg=name)


@pytest.mark.parametrize("head", ["learned", "shared", "zero"])
def test_textbook_meta_gradient_agrees_with_torch_func(head: str, float64: None) -> None:
    torch.manual_seed(0)
    learner = build_learner("finn_maml", VECTOR, width=6, steps=2, head=head).double()
    x, y, query, target = task()

    def start(params: Params) -> Params:
        fast = {n: p.view_as(p) for n, p in params.items() if n.startswith("body.")}
        if head == "zero":
            return fast | {"weight": torch.zeros(3, 6), "bias": torch.zeros(3)}
        weight, bias = params["head_weight"], params["head_bias"]
        if head == "shared":
            weight, bias = weight.expand(3, 6), bias.expand(3)
        return fast | {"weight": weight[:3].clone(), "bias": bias[:3].clone()}

    def logits(params: Params, fast: Params, data: Tensor) -> Tensor:
        return embed(params | fast, data) @ fast["weight"].T / 6**0.5 + fast["bias"]

    def rate(params: Params, name: str, step: int) -> Tensor:
        return params[f"log_lr.{key(name)}"][step].exp()

    expected = reference_gradients(learner, start, logits, rate, [0.0, 1.0], x, y, query, target)
    actual = meta_gradients(learner, x, y, query, target)
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, atol=1e-9, rtol=1e-6, msg=name)


def test_the_multi_step_loss_anneals_to_the_last_step() -> None:
    learner = MAML(VECTOR, width=6, steps=3, multi_step_until=10)
    seen = []
    for update in (0, 5, 10, 20):
        learner.start_update(update)
        seen.append(learner.path_weights(4))
    np.testing.assert_allclose(seen[0], [0, 1 / 3, 1 / 3, 1 / 3])
    np.testing.assert_allclose(seen[1], [0, 1 / 6, 1 / 6, 4 / 6])
    assert seen[2] == seen[3] == [0, 0, 0, 1]


def test_meta_lstm_starts_as_gradient_descent_and_learns_its_gates() -> None:
    torch.manual_seed(0)
    learner = build_learner("meta_lstm", VECTOR, width=8, steps=1, inner_lr=0.1)
    plain = MAML(VECTOR, width=8, steps=1, inner_lr=0.1)
    plain.load_state_dict(learner.state_dict(), strict=False)
    with torch.no_grad():
        for layer in (learner.forget, learner.input):
            layer.weight.zero_()
        learner.forget.bias.fill_(30.0)  # nothing forgotten
    x, y = torch.randn(1, 6, 8), torch.tensor([[0, 1, 2, 0, 1, 2]])
    every, classes = torch.ones(1, 6, dtype=torch.bool), torch.ones(1, 3, dtype=torch.bool)
    outcomes = []
    for one in (learner, plain):
        features = one.prepare(x[0]).unsqueeze(0)
        outcomes.append(one.predict(one.adapt(features, y, every, classes), features))
    torch.testing.assert_close(*outcomes, atol=1e-5, rtol=1e-5)
    cross_entropy(outcomes[0][0], y[0]).backward()
    for part in (learner.reader, learner.forget, learner.input):
        assert all(p.grad is not None and p.grad.isfinite().all() for p in part.parameters())


def test_svm_agrees_with_a_quadratic_program() -> None:
    rng = np.random.default_rng(0)
    x, y, penalty = rng.normal(size=(9, 4)), np.arange(9) % 3, 0.3
    gram, target = x @ x.T, np.eye(3)[y]

    def objective(flat: np.ndarray) -> float:
        a = target - flat.reshape(9, 3)
        return 0.5 * np.sum(a * (gram @ a)) / penalty + np.sum(flat.reshape(9, 3) * target)

    rows = LinearConstraint(np.kron(np.eye(9), np.ones(3)), 1, 1)
    best = minimize(
        objective, np.full(27, 1 / 3), method="trust-constr", bounds=[(0, 1)] * 27, constraints=rows,
        options={"maxiter": 3000, "gtol": 1e-9, "xtol": 1e-12, "barrier_tol": 1e-10},
    )  # fmt: skip
    expected = (target - best.x.reshape(9, 3)) / penalty
    learner = build_learner("svm", (4,), regularisation=penalty, iterations=500)
    tensors = (torch.from_numpy(a)[None].float() for a in (gram, target))
    ours = learner.solve(*tensors, torch.ones(1, 3, dtype=torch.bool))[0].detach().double().numpy()
    found = objective(target - penalty * ours)
    assert found <= best.fun + 1e-4 * abs(best.fun)
    # Dual weights may differ where the Gram matrix is singular; the scores may not.
    np.testing.assert_allclose(gram @ ours, gram @ expected, atol=5e-3)


def test_the_meta_gradient_of_the_svm_is_that_of_its_solution(float64: None) -> None:
    """Against the implicit gradient, by finite differences of the fully converged solution."""
    torch.manual_seed(0)
    x = torch.nn.functional.normalize(torch.randn(6, 8), dim=1)
    target = torch.eye(3)[[0, 1, 2, 0, 1, 2]]
    learner = build_learner("svm", VECTOR, regularisation=0.5, iterations=2000, unrolled=200).double()
    direction = torch.randn(6, 3)

    def value(x: Tensor) -> Tensor:
        return (
            learner.solve((x @ x.T)[None], target[None], torch.ones(1, 3, dtype=torch.bool)) * direction
        ).sum()

    actual = torch.autograd.grad(value(x.requires_grad_()), x)[0]
    shift, eps = torch.randn(6, 8), 1e-6
    with torch.no_grad():
        numeric = (value(x + eps * shift) - value(x - eps * shift)) / (2 * eps)
    torch.testing.assert_close((actual * shift).sum(), numeric, atol=1e-4, rtol=1e-3)


def test_projection_onto_the_simplex() -> None:
    x = torch.tensor([[0.5, 0.5, 3.0], [2.0, -1.0, 0.3], [0.1, 0.2, 0.9]])
    allowed = torch.tensor([[True, True, False], [True, True, True], [False, False, False]])
    expected = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(project_to_simplex(x, allowed), expected)
    many = project_to_simplex(torch.randn(50, 7), torch.ones(50, 7, dtype=torch.bool))
    torch.testing.assert_close(many.sum(-1), torch.ones(50))
    assert (many >= 0).all()


def test_logistic_comes_near_its_optimum_by_default() -> None:
    torch.manual_seed(0)
    x = torch.nn.functional.normalize(torch.randn(1, 20, 8), dim=-1)
    y = torch.arange(20).remainder(4)[None]
    every, classes = torch.ones(1, 20, dtype=torch.bool), torch.ones(1, 4, dtype=torch.bool)
    probs = []
    for iterations in (None, 5000):
        learner = build_learner("logistic", VECTOR, **({"iterations": iterations} if iterations else {}))
        probs.append(learner.predict(learner.adapt(x, y, every, classes), x).softmax(-1))
    torch.testing.assert_close(*probs, atol=0.05, rtol=0)


def test_matching_probabilities_are_the_attention_of_the_paper() -> None:
    learner = build_learner("matching", VECTOR, body="identity", scale=4.0)
    support, query = torch.randn(1, 5, 8), torch.randn(1, 3, 8)
    y, every = torch.tensor([[0, 0, 0, 1, 2]]), torch.ones(1, 5, dtype=torch.bool)
    adapted = learner.adapt(support, y, every, torch.ones(1, 3, dtype=torch.bool))
    cosine = torch.nn.functional.cosine_similarity(query[0].unsqueeze(1), support[0].unsqueeze(0), dim=-1)
    expected = torch.softmax(4 * cosine, -1) @ torch.eye(3)[y[0]]
    torch.testing.assert_close(learner.predict(adapted, query)[0].softmax(-1), expected)


def test_siamese_similarity_is_a_weighted_city_block_distance() -> None:
    learner = build_learner("siamese", VECTOR, body="identity")
    a, b = torch.randn(1, 3, 8), torch.randn(1, 4, 8)
    expected = -((a.unsqueeze(2) - b.unsqueeze(1)).abs() * learner.log_weight.exp()).sum(-1)
    torch.testing.assert_close(learner.similarity(a, b), expected)


@pytest.mark.parametrize("name", ["protonet", "matching", "siamese", "ridge", "svm", "logistic", "meta_lstm",
                                  "meta_sgd", "finn_maml"])  # fmt: skip
def test_every_kind_meta_trains_on_few_updates(name: str, tmp_path: Path) -> None:
    data = cluster_dataset(classes=12)
    train, validation = data.split("train"), data.split("validation")
    torch.manual_seed(0)
    options = {"body": "mlp", "width": 16} | ({"steps": 2} if name == "finn_maml" else {})
    learner = build_learner(name, VECTOR, **options)
    config = MetaTrainConfig(
        iterations=12, classes_per_batch=5, items_per_class=8, tasks_per_batch=8, way=(2, 4), max_labels=6,
        validate_every=6, validation_tasks=40, learning_rate=0.01,
    )  # fmt: skip
    before = np.mean(evaluate_learner(learner, train, config).log_loss)
    meta_train(learner, train, validation, config, tmp_path / "learner.pt")
    after = np.mean(evaluate_learner(learner, train, config).log_loss)
    assert np.isfinite(after) and after < before + 0.01


def test_balanced_supports_hold_the_same_number_of_every_class(tmp_path: Path) -> None:
    tasks = draw_tasks(
        np.random.default_rng(0), 12, 10, tasks=50, way=(3, 6), max_labels=1, queries=2, shots=(1, 3)
    )
    for labels, mask, classes in zip(tasks.support_labels, tasks.support_mask, tasks.class_mask, strict=True):
        counts = torch.bincount(labels[mask], minlength=int(classes.sum()))
        assert 1 <= counts[0] <= 3 and (counts == counts[0]).all() and len(counts) == classes.sum()
    with pytest.raises(InputError, match="shots"):
        MetaTrainConfig(balanced=True, shots=11)
    config = MetaTrainConfig(
        balanced=True, shots=(1, 5), validation_tasks=20, way=3, iterations=2, validate_every=1
    )
    data = cluster_dataset()
    learner = build_learner("prototype", VECTOR)
    report = meta_train(learner, data, data, config, tmp_path / "learner.pt")
    assert report.labels == [1, 2, 5]


def test_the_meta_loss_of_a_plain_learner_is_the_query_loss() -> None:
    data = cluster_dataset()
    learner = build_learner("prototype", VECTOR)
    tasks = draw_tasks(np.random.default_rng(0), 12, 40, tasks=5, way=3, max_labels=4, queries=2)
    features = learner.prepare(data.inputs)
    loss, logits = path_loss(learner, features, tasks)
    expected = cross_entropy(logits.flatten(0, 1), tasks.query_labels.flatten())
    torch.testing.assert_close(loss, expected)


def test_textbook_head_refuses_more_classes_than_it_has() -> None:
    learner = build_learner("finn_maml", VECTOR, max_way=2)
    x, y = learner.prepare(torch.randn(3, 8)).unsqueeze(0), torch.tensor([[0, 1, 2]])
    with pytest.raises(InputError, match="max_way"):
        learner.adapt(x, y, torch.ones(1, 3, dtype=torch.bool), torch.ones(1, 3, dtype=torch.bool))
    with pytest.raises(InputError, match="head"):
        build_learner("finn_maml", VECTOR, head="prototype")
    with pytest.raises(InputError, match="rates"):
        build_learner("maml", VECTOR, rates="none")


def test_all_learners_of_the_documentation_are_registered() -> None:
    assert {"maml", "meta_sgd", "finn_maml", "meta_lstm", "protonet", "matching", "siamese", "prototype", "ridge",
            "logistic", "svm", "r2d2", "metaoptnet", "metaoptnet_logistic"} <= set(LEARNERS)  # fmt: skip
