"""Explanations add up and speak plainly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers.clusters import clusters

from agents.acquisition.query import select
from agents.acquisition.why.figures import report_figure, why_figure
from agents.acquisition.why.likeness import most_alike, policy_report, rank_correlations
from agents.loading import load_strategy
from agents.policy.attribution import explain
from agents.policy.network import AcquisitionNetwork
from agents.policy.reasons import in_words, parts, reasons, words
from agents.policy.sb3_policy import LearnedStrategy
from metaal_env.errors import InputError
from metaal_env.features import ITEM_SCORES, FeatureNames, extract
from metaal_env.pool.view import PoolView


def pool(labelled: int = 6) -> tuple[np.ndarray, np.ndarray]:
    truth = np.arange(40) % 3
    x = clusters(truth, 5, apart=2, noise=0.6, on_axes=True, seed=1)
    return x, np.where(np.arange(40) < labelled, truth.astype(float), np.nan)


def trained_network() -> AcquisitionNetwork:
    torch.manual_seed(0)
    network = AcquisitionNetwork("uherding")
    with torch.no_grad():
        network.correction.weight.normal_(0, 0.5)
        network.rule_weights.normal_()
    return network


def view_of(network: AcquisitionNetwork) -> tuple[PoolView, int]:
    x, y = pool()
    found = select(x, y, policy=LearnedStrategy(network))
    return found.views[0], found.places[0]


def score_with(network: AcquisitionNetwork, view: PoolView, position: int, item: torch.Tensor) -> float:
    features = extract(view)
    items = features.items.clone()
    items[0, position] = item
    with torch.no_grad():
        return float(network(items, features.episode, view.valid).logits[0, position])


def test_attributions_sum_to_the_difference_of_scores() -> None:
    network = trained_network()
    view, best = view_of(network)
    features = extract(view)
    average = features.items[0][view.selectable[0]].mean(0)
    for position in (best, 20, 33):
        found = explain(network, view, position)
        difference = score_with(network, view, position, features.items[0, position]) - score_with(
            network, view, position, average
        )
        assert found.difference == pytest.approx(difference, abs=1e-4)
        assert abs(found.residual) <= 5e-3
        assert tuple(found.values) == FeatureNames.registered().items
        assert sum(found.total.values()) == pytest.approx(difference, abs=6e-3)


def test_prior_is_exact_and_an_untrained_correction_is_nothing() -> None:
    network = AcquisitionNetwork("uherding", prior_weight=2.0)
    view, best = view_of(network)
    found = explain(network, view, best)
    scores = extract(view).items[0, :, list(found.prior).index("uherding")]
    beyond = scores[best] - scores[view.selectable[0]].mean()
    assert found.prior["uherding"] == pytest.approx(2 * float(beyond), abs=1e-5)
    assert all(value == 0 for name, value in found.prior.items() if name != "uherding")
    assert all(value == 0 for value in found.correction.values())
    assert reasons(LearnedStrategy(network), view, best)[0][2] == ITEM_SCORES["uherding"].high


def test_reasons_of_a_rule_and_words() -> None:
    x, y = pool()
    found = select(x, y, policy="margin", batch_size=3)
    for view, place in zip(found.views, found.places, strict=True):
        told = reasons(found.strategy, view, place)
        assert 1 <= len(told) <= 3 and all(weight > 0 for _, weight, _ in told)
    assert ITEM_SCORES["margin"].high in in_words(
        reasons(found.strategy, found.views[0], found.places[0], most=12)
    )
    assert in_words([]) == "no feature stands out"


@pytest.mark.parametrize("policy", ["margin", LearnedStrategy(AcquisitionNetwork("uherding"))])
def test_figure_shows_what_the_parts_say(policy: Any) -> None:
    """The bars of each panel are the largest parts, in the table's words, with the largest at the top."""
    x, y = pool()
    found = select(x, y, policy=policy, batch_size=3)
    figure = why_figure(found, ["first", "second", "third"])
    panels = [axis for axis in figure.axes if axis.axison]
    assert [axis.get_title(loc="left") for axis in panels] == ["1. first", "2. second", "3. third"]
    for rank, axis in enumerate(panels):
        expected = sorted(
            parts(found.strategy, found.views[rank], found.places[rank]), key=lambda p: -abs(p.weight)
        )
        expected = [part for part in expected if part.weight != 0][:6][::-1]
        told = [label.get_text() for label in axis.get_yticklabels()]
        assert told == [f"{words(part)} ({part.name.removesuffix('_absolute')})" for part in expected]
        prior, network = axis.containers[:2]
        lengths = [a.get_width() + b.get_width() for a, b in zip(prior, network, strict=True)]
        np.testing.assert_allclose(lengths, [part.weight for part in expected], atol=1e-6)
    assert bool(figure.legends) == isinstance(policy, LearnedStrategy)


def test_report_and_its_figure() -> None:
    x, _ = pool()
    truth = list(np.arange(40) % 3)
    found = policy_report(x, truth, policy="uherding", budget=8)
    assert {point.labels for point in found} == {0, 1, 2, 4, 6, 8}
    assert all(point.correlation == pytest.approx(1) for point in found if point.rule == "uherding")
    assert most_alike(found, 4)[0].rule == "uherding" and len(most_alike(found, 4, most=2)) == 2
    figure = report_figure(found)
    axis = figure.axes[0]
    rules = [label.get_text() for label in axis.get_yticklabels()]
    shown = axis.images[0].get_array()
    assert rules[0] == "uherding" and shown.shape == (len(FeatureNames.registered().item_scores), 6)
    margin = [point.correlation for point in found if point.rule == "margin"]
    np.testing.assert_allclose(shown[rules.index("margin")].filled(np.nan), margin)
    for wrong in ([None, *truth[1:]], truth[:8]):
        with pytest.raises(InputError, match=r"lacks 1 labels|budget=8"):
            policy_report(x[: len(wrong)], wrong, budget=8)


def test_rank_correlation_of_a_rule_with_itself() -> None:
    x, y = pool()
    view = select(x, y, policy="margin").views[0]
    found = rank_correlations(load_strategy("margin"), view)
    assert found["margin"] == pytest.approx(1) and abs(found["density"]) < 1
