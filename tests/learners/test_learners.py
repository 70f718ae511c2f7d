"""What every registered inner learner must keep: batches, missing classes, storage, names."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.clusters import cluster_dataset
from torch import Tensor

from metaal_env.errors import InputError
from metaal_env.learners import LEARNERS, build_learner, load_learner, save_learner
from metaal_env.learners.base import EXCLUDED_LOGIT, InnerLearner
from metaal_env.learners.bodies import convolve_each
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
VARIANTS += [(name, IMAGE, {}) for name in LEARNERS if name not in {variant[0] for variant in VARIANTS}]


def episodes(
    shape: tuple[int, ...], batch: int = 3, support: int = 6, items: int = 5, classes: int = 4, seed: int = 0
) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(seed)
    draw = (lambda *s: torch.randint(0, 256, s, dtype=torch.uint8)) if len(shape) == 3 else torch.randn
    inputs = draw(batch * (support + items), *shape)
    labels = torch.randint(0, classes - 1, (batch, support))  # the last class never has a label
    mask = torch.arange(support) < torch.tensor([support, 2, 0][:batch]).unsqueeze(1)
    class_mask = torch.ones(batch, classes, dtype=torch.bool)
    class_mask[1, -1] = False
    return inputs, labels, mask, class_mask


def run(
    learner: InnerLearner,
    inputs: torch.Tensor,
    labels: torch.Tensor,
    mask: torch.Tensor,
    class_mask: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    batch, support = labels.shape
    features = learner.prepare_all(inputs).unflatten(0, (batch, -1))
    with torch.no_grad():
        adapted = learner.adapt(features[:, :support], labels, mask, class_mask)
        return learner.predict(adapted, features[:, support:]), learner.embed(adapted, features[:, support:])


@pytest.mark.parametrize(("name", "shape", "options"), VARIANTS)
def test_batch_equals_loop_of_singles(name: Any, shape: Any, options: Any) -> None:
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
def test_several_adaptations_predict_as_each_alone(name: Any, shape: Any, options: Any) -> None:
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
def test_missing_classes_and_no_labels(name: Any, shape: Any, options: Any) -> None:
    learner = build_learner(name, shape, **options)
    inputs, labels, mask, class_mask = episodes(shape)
    probs = torch.softmax(run(learner, inputs, labels, mask, class_mask)[0], -1)
    assert torch.isfinite(probs).all()
    assert (probs[1, :, -1] == 0).all(), "a class outside the task has no probability"
    torch.testing.assert_close(probs[2], torch.full_like(probs[2], 0.25))
    assert (probs[0, :, -1] > 0).all(), "a label-less class keeps some"
    unseen = ~torch.isin(torch.arange(4), labels[0])
    torch.testing.assert_close(probs[0][:, unseen], probs[0][:, unseen][:, :1].expand(-1, int(unseen.sum())))


def test_calibration_error_against_its_definition() -> None:
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


def test_saving_and_loading(tmp_path: Path) -> None:
    learner = build_learner("maml", IMAGE, width=4, depth="last_block")
    save_learner(
        learner, tmp_path / "learner", "maml", IMAGE, {"width": 4, "depth": "last_block"}, {"accuracy": [0.5]}
    )
    for source in (tmp_path, tmp_path / "learner", tmp_path / "learner.safetensors"):
        loaded = load_learner(source, IMAGE)
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


def test_unknown_names_and_options_are_refused() -> None:
    with pytest.raises(InputError, match="did you mean 'maml'"):
        load_learner("mamml", VECTOR)
    with pytest.raises(InputError, match="depth"):
        build_learner("maml", VECTOR, depth="everything")
    with pytest.raises(InputError, match="options"):
        build_learner("maml", VECTOR, wdith=3)
    with pytest.raises(InputError, match="conv4"):
        build_learner("maml", VECTOR, body="conv4")


def test_a_new_learner_is_one_class_and_one_line() -> None:
    @LEARNERS.register("constant_for_this_test")
    class Constant(InnerLearner):
        def __init__(self, input_shape: tuple[int, ...]) -> None:
            super().__init__()

        def prepare(self, inputs: torch.Tensor) -> torch.Tensor:
            return inputs.float().flatten(1)

        def adapt(
            self, support: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor, class_mask: torch.Tensor
        ) -> dict[str, torch.Tensor]:
            return {"class_mask": class_mask}

        def predict(self, adapted: dict[str, torch.Tensor], features: torch.Tensor) -> torch.Tensor:
            mask = adapted["class_mask"].unsqueeze(1).expand(-1, features.shape[1], -1)
            return torch.where(mask, 0.0, EXCLUDED_LOGIT)

        def embed(self, adapted: dict[str, torch.Tensor], features: torch.Tensor) -> torch.Tensor:
            return features

    try:
        from metaal_env.make import make_core

        core = make_core(cluster_dataset(), learner="constant_for_this_test", way=3, pool_size=20, budget=3)
        state = core.reset(core.sampler.sample([np.random.default_rng(0)]))
        assert core.step(state, torch.tensor([0])).reward == 0
    finally:
        del LEARNERS["constant_for_this_test"]


def test_filters_that_episodes_still_share_have_the_derivatives_of_their_copies() -> None:
    """First and second derivatives, against finite differences and against the loop over episodes."""
    torch.manual_seed(0)
    x = torch.randn(3, 2, 2, 4, 4, dtype=torch.double, requires_grad=True)
    filters = torch.randn(5, 2, 3, 3, dtype=torch.double, requires_grad=True)

    def convolve(x: Tensor, filters: Tensor) -> Tensor:
        return convolve_each(x, filters.expand(3, *filters.shape))

    assert torch.autograd.gradcheck(convolve, (x, filters))
    assert torch.autograd.gradgradcheck(convolve, (x, filters))
    shared = filters.detach().expand(3, *filters.shape).requires_grad_()
    copies = shared.detach().clone().requires_grad_()
    results = []
    for weight in (shared, copies):
        out = convolve_each(x, weight)
        results.append((out, *torch.autograd.grad(out.square().sum(), (x, weight))))
    for ours, loop in zip(*results, strict=True):
        torch.testing.assert_close(ours, loop)
    assert not torch.equal(results[0][2][0], results[0][2][1])  # each episode has its own gradient
