"""Features by name: adding one, selecting some, and artifacts that name the features they were trained on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.clusters import cluster_dataset
from helpers.environments import generators
from helpers.hostile import refused, resign
from helpers.paths import ROOT
from torch import Tensor

import metaal_env
from agents.policy.network import AcquisitionNetwork
from agents.policy.sb3_policy import LearnedStrategy
from agents.strategies.fitted.base import load_fitted
from agents.strategies.fitted.gain_models import LAL
from agents.training.imitation.examples import examples_file, load_all_examples, save_examples
from agents.training.imitation.imitate import ImitationConfig
from agents.training.imitation.rounds import imitate
from agents.training.ppo.train import PPOConfig, make_ppo
from agents.training.task_mixture import TaskMixture
from metaal_env.core import Core
from metaal_env.env import MetaALEnv
from metaal_env.errors import InputError
from metaal_env.features import (
    ITEM_FEATURES,
    ITEM_SCORES,
    POOL_FEATURES,
    FeatureNames,
    extract,
    item_feature,
    item_score,
    pool_feature,
)
from metaal_env.make import make_core
from metaal_env.observation import observe, parse_observation
from metaal_env.pool.view import PoolView

TASK = {"way": 3, "pool_size": 16, "budget": 4, "reward_per_class": 5, "test_per_class": 5}
REGISTRIES: tuple[dict[str, Any], ...] = (ITEM_SCORES, ITEM_FEATURES, POOL_FEATURES)
ALL = [feature for registry in REGISTRIES for feature in registry.values()]
SHIPPED = sorted((ROOT / "agents" / "pretrained").glob("*/policy.json"))
KINDS = ("item_scores", "item_features", "pool_features")


@pytest.fixture(autouse=True)
def registries() -> Iterator[None]:
    """Takes out again what a test registers."""
    before = [dict(registry) for registry in REGISTRIES]
    yield
    for registry, entries in zip(REGISTRIES, before, strict=True):
        registry.clear()
        registry.update(entries)


@pytest.fixture(scope="module")
def core() -> Core:
    return make_core(cluster_dataset(), **TASK)


def view_of(core: Core) -> PoolView:
    state = core.reset(core.sampler.sample(generators(2)))
    core.step(state, torch.zeros(2, dtype=torch.long))
    return core.view(state)


def position(view: PoolView) -> Tensor:
    return torch.arange(view.valid.shape[1]).expand_as(view.valid)


def add_all(function: Callable[[PoolView], Tensor] = position) -> None:
    item_score("new_score", "its position", high="it is late", low="it is early")(function)
    item_feature("new_item", "its position", high="it is late", low="it is early")(function)
    pool_feature("new_pool", "number of items")(lambda view: view.valid.sum(1))
    pool_feature("new_budget", "twice the budget", budget=True)(lambda view: 2 * view.budget)


def test_every_feature_has_one_name_and_a_meaning() -> None:
    names = [feature.name for feature in ALL]
    assert len(names) == len(set(names))
    assert names == [name for registry in REGISTRIES for name in registry]
    assert all(len(feature.meaning.split()) >= 3 for feature in ALL)
    assert all(feature.high != feature.low for registry in REGISTRIES[:2] for feature in registry.values())
    assert [name for name in POOL_FEATURES if POOL_FEATURES[name].budget] == [
        "budget_left",
        "planned_labels",
        "price_of_rest",
    ]


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.parent.name)
def test_shipped_policies_name_their_features_in_this_order(file: Path) -> None:
    stored = json.loads(file.read_text())["config"]["features"]
    network = LearnedStrategy.load(file.parent).network
    assert network.names.to_json() == stored
    assert [len(stored[kind]) for kind in KINDS] == [25, 19, 28]
    known = FeatureNames.registered()
    for kind in KINDS:
        assert [name for name in getattr(known, kind) if name in stored[kind]] == stored[kind]
    assert stored["item_scores"][:3] == ["least_confident", "margin", "entropy"]
    assert stored["pool_features"][-2:] == ["budget_left", "planned_labels"]


@pytest.mark.parametrize(
    ("add", "dim"),
    [
        (lambda f: item_score("new", "one number", high="much", low="little")(f), 3),
        (lambda f: item_feature("new", "one number", high="much", low="little")(f), 3),
        (lambda f: pool_feature("new", "one number")(lambda view: f(view)[:, 0]), 2),
    ],
    ids=KINDS,
)
def test_a_new_feature_appears_in_the_observation(
    add: Callable[[Callable[[PoolView], Tensor]], object], dim: int, core: Core
) -> None:
    view, value = view_of(core), torch.arange(16.0).expand(2, 16) + 7
    before, space = (
        observe(view, parse_observation("full")),
        MetaALEnv(dataset=cluster_dataset(), observation="full", **TASK).observation_space,
    )
    add(lambda view: value[: len(view)])
    after, env = (
        observe(view, parse_observation("full")),
        MetaALEnv(dataset=cluster_dataset(), observation="full", **TASK),
    )
    (key,) = [key for key in before if before[key].shape != after[key].shape]
    assert before[key].dim() == dim
    assert after[key].shape[-1] == before[key].shape[-1] + 1
    assert env.observation_space[key].shape[-1] == space[key].shape[-1] + 1
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    del (ITEM_SCORES if "new" in ITEM_SCORES else ITEM_FEATURES if "new" in ITEM_FEATURES else POOL_FEATURES)[
        "new"
    ]
    again = observe(view, parse_observation("full"))
    assert all(torch.equal(again[name], before[name]) for name in before)


def test_values_of_new_features(core: Core) -> None:
    add_all()
    view = view_of(core)
    found, names = extract(view), FeatureNames.registered()
    torch.testing.assert_close(found.items[..., names.items.index("new_item")], position(view).float())
    score = found.items[..., names.items.index("new_score")].sinh()
    torch.testing.assert_close(score.mean(1), torch.zeros(2), atol=1e-6, rtol=0)
    assert (score[0].diff()[1:] > 0).all() and (score[view.labelled] == 0).all()
    assert found.episode[0, -2:].tolist() == [16, 8]
    assert names.context[-1] == "new_pool" and names.budget[-1] == "new_budget"
    network = AcquisitionNetwork(width=8)
    torch.nn.init.normal_(network.gate)
    torch.nn.init.normal_(network.correction.weight)
    rich = extract(replace(view, budget=view.budget * 3))
    poor, rich = (network(f.items, f.episode, view.valid) for f in (found, rich))
    assert torch.equal(poor.logits, rich.logits) and not torch.equal(poor.value, rich.value)


def test_old_policies_go_on_when_features_are_added(core: Core, tmp_path: Path) -> None:
    torch.manual_seed(0)
    old = LearnedStrategy(AcquisitionNetwork(width=8))
    torch.nn.init.normal_(old.network.correction.weight)
    old.save(tmp_path / "policy", {})
    scores = old.score(view_of(core))
    add_all()
    assert torch.equal(LearnedStrategy.load(tmp_path).score(view_of(core)), scores)
    mixture = TaskMixture([[core]], n_envs=2, paired=1)
    policy = make_ppo(
        mixture, PPOConfig(n_envs=2, paired=2, shapes_per_rollout=1, start=str(tmp_path))
    ).policy
    output = policy.run(observe(view_of(core), parse_observation("full")))[1]  # type: ignore[operator]
    assert torch.equal(output.logits, scores)


def test_only_selected_features_are_computed(core: Core) -> None:
    def never(view: PoolView) -> Tensor:
        raise AssertionError("not asked for")

    whole, names = extract(view_of(core)), FeatureNames.registered()
    add_all(never)
    some = names.without("entropy", "expected_accuracy", "labelled", "contrast", "budget_left")
    assert len(some.items) == len(names.items) - 3 and len(some.pool_features) == len(names.pool_features) - 2
    found = extract(view_of(core), some)
    columns = [names.items.index(name) for name in some.items]
    torch.testing.assert_close(found.items, whole.items[..., columns])
    columns = [names.pool_features.index(name) for name in some.pool_features]
    assert torch.equal(found.episode, whole.episode[:, columns])
    alone = extract(view_of(core), FeatureNames(("margin",), (), ()))
    assert alone.items.shape == (2, 16, 1) and alone.episode.shape == (2, 0)


@pytest.mark.parametrize("selected", [FeatureNames(("margin", "uherding"), (), ()), None])
def test_a_policy_of_selected_features_is_trained_saved_and_loaded(
    selected: FeatureNames | None, core: Core, tmp_path: Path
) -> None:
    names = selected or FeatureNames.registered().without("walk_gain", "mean_margin", "planned_labels")
    network = AcquisitionNetwork(width=8, names=names)
    config = ImitationConfig(iterations=1, rounds=1, n_envs=4, shapes_per_rollout=1, epochs=1)
    imitate(network, TaskMixture([[core]], n_envs=4, paired=1), config, tmp_path)
    assert bool((network.rule_weights != AcquisitionNetwork(width=8, names=names).rule_weights).any())
    strategy = LearnedStrategy(network)
    strategy.save(tmp_path / "policy", {})
    loaded = LearnedStrategy.load(tmp_path)
    assert loaded.network.names == names
    assert torch.equal(loaded.score(view_of(core)), strategy.score(view_of(core)))


def swapped(names: list[str]) -> list[str]:
    return [names[0], names[2], names[1], *names[3:]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (swapped, r"{2!r} comes after|{1!r} comes after"),
        (lambda names: ["margn", *names[1:]], "'margn' is unknown"),
        (lambda names: [*names, names[-1]], "named twice"),
        (lambda names: names[1:], r"without {0!r}"),
        (lambda names: [*names[:-1], 3], "must be a list of names"),
        (lambda names: "margin", "must be a list of names"),
        (lambda names: None, "must be a list of names"),
    ],
)
@pytest.mark.parametrize("artifact", ["policy", "strategy"])
def test_other_features_are_refused_in_one_sentence(
    kind: str, change: Callable[[Any], Any], message: str, artifact: str, tmp_path: Path
) -> None:
    if artifact == "policy":
        LearnedStrategy(AcquisitionNetwork(width=4)).save(tmp_path / "policy", {})
    else:
        LAL(width=4).save(tmp_path)
    card = json.loads((tmp_path / f"{artifact}.json").read_text())["config"]
    names = card["features"][kind]
    resign(tmp_path / artifact, config=card | {"features": card["features"] | {kind: change(names)}})
    pattern = message.format(*names) if artifact == "policy" or "without" not in message else "does not fit"
    with pytest.raises(InputError, match=pattern) as caught:
        LearnedStrategy.load(tmp_path) if artifact == "policy" else load_fitted(tmp_path)
    refused(caught.value, artifact)


@pytest.mark.parametrize("features", [None, [], {}, {"item_scores": []}, {"item_features": 44}])
def test_artifacts_without_names_are_refused(features: object, tmp_path: Path) -> None:
    LearnedStrategy(AcquisitionNetwork(width=4)).save(tmp_path / "policy", {})
    card = json.loads((tmp_path / "policy.json").read_text())["config"]
    resign(tmp_path / "policy", config=card | {"features": features})
    with pytest.raises(InputError, match=r"does not name the features.*; train it again") as caught:
        LearnedStrategy.load(tmp_path)
    refused(caught.value, "policy")


def test_a_fitted_strategy_keeps_its_features(core: Core, tmp_path: Path) -> None:
    strategy = LAL(width=4, names=FeatureNames.registered().without("margin", "log_way"))
    strategy.save(tmp_path)
    add_all()
    assert torch.equal(load_fitted(tmp_path).score(view_of(core)), strategy.score(view_of(core)))


def test_states_of_other_features_are_refused(core: Core, tmp_path: Path) -> None:
    config = ImitationConfig(iterations=1, rounds=1, n_envs=4, shapes_per_rollout=1, epochs=1)
    network = AcquisitionNetwork(width=4)
    imitate(network, TaskMixture([[core]], n_envs=4, paired=1), config, tmp_path)
    states = load_all_examples(tmp_path, 1, config)
    add_all()
    with pytest.raises(InputError, match=r"other features .item_scores: 'new_score'.; choose") as caught:
        load_all_examples(tmp_path, 1, config)
    refused(caught.value, "checkpoint")
    with pytest.raises(InputError, match="other features") as caught:  # the network after the round
        imitate(AcquisitionNetwork(width=4), TaskMixture([[core]], n_envs=4, paired=1), config, tmp_path)
    refused(caught.value, "checkpoint")
    save_examples(examples_file(tmp_path, 0), config, network.names, states)
    (tmp_path / "imitation.pt").unlink()
    imitate(
        network, TaskMixture([[core]], n_envs=4, paired=1), config, tmp_path
    )  # for its own names they serve


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("margin", "no_such"), "item score 'no_such' is unknown"),
        (("entropy", "margin"), "'margin' comes after 'entropy' but is registered before it"),
        (("margin", "margin"), "'margin' is named twice"),
    ],
)
def test_selections_are_checked(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        FeatureNames(names, (), ())
    refused(caught.value, "item_scores")
    with pytest.raises(InputError, match="feature='magrin' is unknown; did you mean 'margin'"):
        FeatureNames.registered().without("magrin")
    with pytest.raises(InputError, match="prior='uherding' is unknown"):
        AcquisitionNetwork(names=FeatureNames(("margin",), (), ()))


def test_registering_what_cannot_be_a_feature(core: Core) -> None:
    for name in ("margin", "top1", "log_way"):
        with pytest.raises(ValueError, match=f"{name!r} is registered already"):
            item_feature(name, "one number", high="much", low="little")(position)
    for name, meaning, high, says in [
        ("a b", "one number", "much", "name='a b'"),
        ("ab", " ", "much", "meaning=' '"),
        ("ab", "one number", "", "high=''"),
    ]:
        with pytest.raises(InputError, match=says):
            item_feature(name, meaning, high=high, low="little")(position)
    assert "ab" not in ITEM_FEATURES
    pool_feature("wrong", "one number per item")(position)
    with pytest.raises(InputError, match=r"'wrong' returned shape \(2, 16\); it must return \(2,\)"):
        extract(view_of(core))
    item_feature("array", "one number per item", high="much", low="little")(lambda view: view.valid.numpy())  # type: ignore[arg-type]
    with pytest.raises(InputError, match="'array' returned ndarray; it must return a torch tensor"):
        extract(view_of(core), FeatureNames((), ("array",), ()))


def test_the_recipe_in_the_docs_runs(capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(metaal_env.__file__).parent.parent / "docs" / "extend.md").read_text()
    (code,) = re.findall(r"## A feature\n.*?```python\n(.*?)```", text, re.S)
    n_items = len(FeatureNames.registered().items)
    exec(compile(code, "extend.md", "exec"), {})
    assert f"(40, {n_items + 1})" in capsys.readouterr().out
    core = make_core("digits", way=5, pool_size=40, budget=8)
    view = core.view(core.reset(core.sampler.sample([np.random.default_rng(0)])))
    expected = 1 - view.probs.topk(3, -1).values.sum(-1)
    torch.testing.assert_close(extract(view).items[..., -1], expected)
