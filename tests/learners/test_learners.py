"""Inner learners: batch equals a loop, gradients are right, missing classes are handled, heads match peers."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.clusters import cluster_dataset
from helpers.faults import AtUpdate, killed
from sklearn.linear_model import LogisticRegression
from torch.func import grad

from metaal_env.errors import InputError
from metaal_env.learners import LEARNERS, MAML, build_learner, load_learner, save_learner
from metaal_env.learners.base import EXCLUDED_LOGIT, InnerLearner
from metaal_env.meta_training.config import MetaTrainConfig
from metaal_env.meta_training.few_shot_tasks import draw_items, draw_tasks
from metaal_env.meta_training.loss import task_logits, task_loss
from metaal_env.meta_training.train import meta_train
from metaal_env.metrics import calibration_error

IMAGE, VECTOR = (1, 14, 14), (8,)
VARIANTS = [
    ("maml", IMAGE, {"width": 4}),
    ("maml", IMAGE, {"width": 4, "depth": "last_block", "steps": 2}),
    ("maml", IMAGE, {"width": 4, "depth": "all", "steps": 2}),
    ("maml", VECTOR, {"width": 16, "depth": "all", "steps": 1, "first_order": True}),
    ("maml", VECTOR, {"width": 16, "depth": "last_block", "steps": 2, "rates": "parameter"}),
    ("meta_sgd", IMAGE, {"width": 4}),
    ("finn_maml", IMAGE, {"width": 4, "steps": 2}),
    ("finn_maml", VECTOR, {"width": 16, "steps": 2, "head": "shared"}),
    ("finn_maml", VECTOR, {"width": 16, "steps": 2, "head": "zero"}),
    ("meta_lstm", IMAGE, {"width": 4, "steps": 2}),
    ("meta_lstm", VECTOR, {"width": 16, "depth": "all"}),
    ("protonet", IMAGE, {"width": 4}),
    ("matching", IMAGE, {"width": 4}),
    ("siamese", IMAGE, {"width": 4}),
    ("r2d2", IMAGE, {"width": 4}),
    ("metaoptnet", IMAGE, {"width": 4}),
    ("metaoptnet_logistic", IMAGE, {"width": 4}),
    ("prototype", VECTOR, {}),
    ("prototype", IMAGE, {}),
    ("ridge", VECTOR, {}),
    ("ridge", VECTOR, {"intercept": True}),
    ("logistic", VECTOR, {}),
    ("svm", VECTOR, {}),
]


def episodes(shape, batch=3, support=6, items=5, classes=4, seed=0):
    torch.manual_seed(seed)
    draw = (lambda *s: torch.randint(0, 256, s, dtype=torch.uint8)) if len(shape) == 3 else torch.randn
    inputs = draw(batch * (support + items), *shape)
    labels = torch.randint(0, classes - 1, (batch, support))  # the last class never has a label
    mask = torch.arange(support) < torch.tensor([support, 2, 0][:batch]).unsqueeze(1)
    class_mask = torch.ones(batch, classes, dtype=torch.bool)
    class_mask[1, -1] = False
    return inputs, labels, mask, class_mask


def run(learner: InnerLearner, inputs, labels, mask, class_mask):
    batch, support = labels.shape
    features = learner.prepare_all(inputs).unflatten(0, (batch, -1))
    with torch.no_grad():
        adapted = learner.adapt(features[:, :support], labels, mask, class_mask)
        return learner.predict(adapted, features[:, support:]), learner.embed(adapted, features[:, support:])


@pytest.mark.parametrize(("name", "shape", "options"), VARIANTS)
def test_batch_equals_loop_of_singles(name, shape, options):
    torch.manual_seed(0)
    learner = build_learner(name, shape, **options)
    inputs, labels, mask, class_mask = episodes(shape)
    logits, embeddings = run(learner, inputs, labels, mask, class_mask)
    per = len(inputs) // 3
    for i in range(3):
        n = int(mask[i].sum())  # alone, without padding at all
        features = learner.prepare_all(inputs[i * per : (i + 1) * per]).unsqueeze(0)
        with torch.no_grad():
            adapted = learner.adapt(
                features[:, : labels.shape[1]][:, :n],
                labels[i : i + 1, :n],
                mask[i : i + 1, :n],
                class_mask[i : i + 1],
            )
            alone = learner.predict(adapted, features[:, labels.shape[1] :])
            embedded = learner.embed(adapted, features[:, labels.shape[1] :])
        torch.testing.assert_close(alone[0], logits[i], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(embedded[0], embeddings[i], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("name", "shape", "options"), VARIANTS)
def test_several_adaptations_predict_as_each_alone(name, shape, options):
    torch.manual_seed(0)
    learner = build_learner(name, shape, **options)
    inputs, labels, mask, class_mask = episodes(shape)
    features = learner.prepare_all(inputs).unflatten(0, (3, -1))
    support, queries = features[:, : labels.shape[1]], features[:, labels.shape[1] :]
    twice = [torch.stack([x, x.roll(1, 0)], 1).flatten(0, 1) for x in (support, labels, mask, class_mask)]
    with torch.no_grad():
        adapted = learner.adapt(*twice)
        together = learner.predict_each(adapted, queries)
        alone = learner.predict(adapted, queries.repeat_interleave(2, 0))
    assert not torch.allclose(together[::2], together[1::2])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("name", "shape", "options"), VARIANTS)
def test_missing_classes_and_no_labels(name, shape, options):
    learner = build_learner(name, shape, **options)
    inputs, labels, mask, class_mask = episodes(shape)
    probs = torch.softmax(run(learner, inputs, labels, mask, class_mask)[0], -1)
    assert torch.isfinite(probs).all()
    assert (probs[1, :, -1] == 0).all(), "a class outside the task has no probability"
    torch.testing.assert_close(probs[2], torch.full_like(probs[2], 0.25))
    assert (probs[0, :, -1] > 0).all(), "a label-less class keeps some"
    unseen = ~torch.isin(torch.arange(4), labels[0])
    torch.testing.assert_close(probs[0][:, unseen], probs[0][:, unseen][:, :1].expand(-1, int(unseen.sum())))


@pytest.fixture()
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("depth", ["head", "last_block", "all"])
def test_meta_gradient_agrees_with_torch_func(depth, float64):
    """Second-order gradient of the post-adaptation loss, against a single task written with `torch.func`."""
    torch.manual_seed(0)
    learner = MAML(VECTOR, width=6, depth=depth, steps=2).double()
    x, query = torch.randn(5, 8).double(), torch.randn(4, 8).double()
    y, target = torch.tensor([0, 0, 1, 2, 1]), torch.tensor([0, 1, 2, 2])
    names = dict(learner.named_parameters())
    blocks = ["head", "last_block", "all"].index(depth)
    inner = [n for n in names if n.startswith("body.") and int(n.split(".")[2]) >= 2 - blocks]

    def embed(params, data):
        data = torch.nn.functional.normalize(data, dim=1)
        for i in range(2):
            data = data @ params[f"body.blocks.{i}.weight"].T + params[f"body.blocks.{i}.bias"]
            data = torch.relu(torch.nn.functional.layer_norm(data, (6,)))
        return data

    def logits(params, fast, data):
        distance = (embed(params | fast, data).unsqueeze(1) - fast["prototypes"]).square().sum(-1)
        counts = torch.tensor([2.0, 2.0, 1.0]).double()
        return fast["bias"] - params["log_scale"].exp() * distance / (1 + params["log_shrink"].exp() / counts)

    def reference(params):
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


def test_ridge_agrees_with_the_closed_form():
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


def test_logistic_agrees_with_scikit_learn():
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


def test_supports_of_meta_training_look_like_acquisition():
    rng = np.random.default_rng(0)
    tasks = draw_tasks(rng, 12, 10, tasks=500, way=(3, 6), max_labels=8, queries=2)
    n = tasks.support_mask.sum(1)
    assert set(n.tolist()) == set(range(1, 9))
    way = tasks.class_mask.sum(1)
    assert set(way.tolist()) == {3, 4, 5, 6}
    missing = [
        len(set(labels[mask].tolist())) < int(k)
        for labels, mask, k in zip(tasks.support_labels, tasks.support_mask, way, strict=True)
    ]
    assert 0.5 < np.mean(missing) < 1, "classes are often missing, and not always"
    for support, mask, query, labels in zip(
        tasks.support, tasks.support_mask, tasks.query, tasks.query_labels, strict=True
    ):
        assert not set(support[mask].tolist()) & set(query[labels >= 0].tolist())


def test_calibration_error_against_its_definition():
    rng = np.random.default_rng(0)
    confidence, hit, mask = rng.random((2, 1000)), rng.random((2, 1000)) < 0.6, rng.random((2, 1000)) < 0.9
    mask[0] = True
    expected = []
    for sure, right in ((confidence[row][mask[row]], hit[row][mask[row]]) for row in range(2)):
        bins = np.minimum((sure * 10).astype(int), 9)
        expected.append(sum(abs((right[bins == b] - sure[bins == b]).sum()) for b in range(10)) / len(sure))
    given = torch.from_numpy(confidence).float(), torch.from_numpy(hit)
    assert calibration_error(*given, torch.from_numpy(mask)).tolist() == pytest.approx(expected, abs=1e-5)
    assert float(calibration_error(*given)[0]) == pytest.approx(expected[0], abs=1e-5)


TINY = MetaTrainConfig(
    iterations=30, classes_per_batch=6, items_per_class=8, tasks_per_batch=8, way=(3, 5), max_labels=6,
    validate_every=10, validation_tasks=60,
)  # fmt: skip


def test_meta_training_improves_and_calibrates(tmp_path):
    data = cluster_dataset(classes=24)
    train, validation = data.split("train"), data.split("validation")
    torch.manual_seed(0)
    learner = build_learner("maml", data.input_shape, width=16)
    rng = np.random.default_rng(1)
    grid = draw_items(validation, rng, 4, 20)
    tasks = draw_tasks(rng, *grid.shape, tasks=200, way=3, max_labels=6, queries=4)

    def loss() -> float:
        with torch.no_grad():
            features = learner.prepare(validation.inputs[grid.ravel()])
            return float(task_loss(task_logits(learner, features, tasks), tasks.query_labels))

    before = loss()
    meta_train(learner, train, validation, TINY, tmp_path / "learner.pt")
    assert loss() < 0.9 * before


def test_interrupted_meta_training_ends_with_the_same_weights(tmp_path: Path) -> None:
    data = cluster_dataset(classes=24)
    train, validation = data.split("train"), data.split("validation")

    def fresh():
        torch.manual_seed(0)
        return build_learner("maml", data.input_shape, width=16)

    whole = fresh()
    meta_train(whole, train, validation, TINY, tmp_path / "whole.pt")
    with pytest.raises(RuntimeError, match="killed"):  # in the middle of an interval, after two checkpoints
        meta_train(fresh(), train, validation, TINY, tmp_path / "resumed.pt", AtUpdate(24, killed))
    resumed = fresh()
    meta_train(resumed, train, validation, TINY, tmp_path / "resumed.pt")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_saving_and_loading(tmp_path):
    learner = build_learner("maml", IMAGE, width=4, depth="last_block")
    save_learner(
        learner, tmp_path / "learner", "maml", IMAGE, {"width": 4, "depth": "last_block"}, {"accuracy": [0.5]}
    )
    loaded = load_learner(tmp_path, IMAGE)
    for name, value in learner.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name])
    with pytest.raises(InputError, match="shape"):
        load_learner(tmp_path, (3, 14, 14))
    card = json.loads((tmp_path / "learner.json").read_text())
    (tmp_path / "learner.json").write_text(json.dumps(card | {"kind": "policy"}))
    with pytest.raises(InputError, match="does not describe"):
        load_learner(tmp_path, IMAGE)
    (tmp_path / "learner.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        load_learner(tmp_path, IMAGE)
    (tmp_path / "learner.json").write_text(json.dumps(card))
    (tmp_path / "learner.safetensors").write_bytes(b"\x80\x04pickle?")
    with pytest.raises(InputError, match=r"damaged|checksum"):
        load_learner(tmp_path, IMAGE)


def test_unknown_names_and_options_are_refused():
    with pytest.raises(InputError, match="did you mean 'maml'"):
        load_learner("mamml", VECTOR)
    with pytest.raises(InputError, match="depth"):
        build_learner("maml", VECTOR, depth="everything")
    with pytest.raises(InputError, match="options"):
        build_learner("maml", VECTOR, wdith=3)
    with pytest.raises(InputError, match="conv4"):
        build_learner("maml", VECTOR, body="conv4")


def test_a_new_learner_is_one_class_and_one_line():
    @LEARNERS.register("constant_for_this_test")
    class Constant(InnerLearner):
        def __init__(self, input_shape):
            super().__init__()

        def prepare(self, inputs):
            return inputs.float().flatten(1)

        def adapt(self, support, labels, mask, class_mask):
            return {"class_mask": class_mask}

        def predict(self, adapted, features):
            mask = adapted["class_mask"].unsqueeze(1).expand(-1, features.shape[1], -1)
            return torch.where(mask, 0.0, EXCLUDED_LOGIT)

        def embed(self, adapted, features):
            return features

    try:
        from metaal_env.make import make_core

        core = make_core(cluster_dataset(), learner="constant_for_this_test", way=3, pool_size=20, budget=3)
        state = core.reset(core.sampler.sample([np.random.default_rng(0)]))
        assert core.step(state, torch.tensor([0])).reward == 0
    finally:
        del LEARNERS["constant_for_this_test"]
