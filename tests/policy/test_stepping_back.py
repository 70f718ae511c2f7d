"""Where a pool lies outside what training covered, a policy gives way to the rule it started from, and says so."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.views import make_view

from agents.policy.network import SAFE_WEIGHT, AcquisitionNetwork
from agents.policy.reasons import STEPPED_BACK, in_words, reasons
from agents.policy.sb3_policy import LearnedStrategy
from metaal_env.errors import InputError
from metaal_env.features import extract
from metaal_env.pool.view import PoolView


def learned(covered: tuple[float, float] | None = (2.0, 4.0)) -> AcquisitionNetwork:
    """A network that ranks by margin, gated by the context, with a correction; it saw the pools of `make_view`."""
    torch.manual_seed(0)
    network = AcquisitionNetwork("uherding", covered=covered)
    episode = extract(make_view(batch=40), network.names).episode
    network.fit_context(episode)
    with torch.no_grad():
        network.rule_weights.zero_()
        network.rule_weights[network.names.item_scores.index("margin")] = 1.0
        network.gate.normal_()
        network.correction.weight.normal_()
    return network.eval()


def at_distance(network: AcquisitionNetwork, distance: float) -> torch.Tensor:
    """(1, P) features at a distance from the examples, in the direction in which these spread most."""
    episode = torch.zeros(1, len(network.names.pool_features))
    episode[0, network.context_columns] = network.centre
    step = torch.linalg.pinv(network.whitening)[-1]
    moved = episode.clone()
    moved[0, network.context_columns] += step
    unit = float(network.distance_of(moved) - network.distance_of(episode))
    episode[0, network.context_columns] += step * distance / unit
    return episode


@pytest.mark.parametrize(("distance", "share"), [(0.5, 0.0), (2.0, 0.0), (3.0, 0.5), (4.0, 1.0), (9.0, 1.0)])
@torch.no_grad()
def test_weights_shrink_to_the_rule_with_the_distance(distance: float, share: float) -> None:
    network, plain = learned(), learned(None)
    episode = at_distance(network, distance)
    assert float(network.distance_of(episode)) == pytest.approx(distance, abs=1e-2)
    assert float(network.stepped_back(episode)) == pytest.approx(share, abs=1e-2)
    assert float(plain.stepped_back(episode)) == 0
    safe = torch.zeros(len(network.names.item_scores))
    safe[network.names.item_scores.index("uherding")] = SAFE_WEIGHT
    expected = plain.weights_of_rules(episode)[0].lerp(safe, network.stepped_back(episode))
    torch.testing.assert_close(network.weights_of_rules(episode)[0], expected)
    items, valid = torch.randn(1, 7, len(network.names.items)), torch.ones(1, 7, dtype=torch.bool)
    mine, theirs = network(items, episode, valid), plain(items, episode, valid)
    left = 1 - network.stepped_back(episode)
    torch.testing.assert_close(mine.logits - mine.prior, (theirs.logits - theirs.prior) * left)
    if share == 1:
        rule = items[0, :, network.names.items.index("uherding")]
        assert mine.logits[0].argsort().tolist() == rule.argsort().tolist()


def test_examples_are_at_distance_one_on_average() -> None:
    network = learned()
    distance = network.distance_of(extract(make_view(batch=40), network.names).episode)
    assert 0.5 < float(distance.mean()) < 1.1


def test_reasons_say_by_how_much_a_policy_steps_back() -> None:
    def told(covered: tuple[float, float] | None, view: PoolView) -> list[tuple[str, float, str]]:
        return reasons(LearnedStrategy(learned(covered)), view, int(view.selectable[0].nonzero()[0]))

    view = make_view(batch=1)
    assert STEPPED_BACK not in [name for name, _, _ in told(None, view)]
    assert STEPPED_BACK not in [name for name, _, _ in told((50.0, 60.0), view)]
    name, share, words = told((0.0, 1e-6), view)[-1]
    assert (name, share) == (STEPPED_BACK, 1.0)
    assert "uherding counts 100%" in words and words in in_words(told((0.0, 1e-6), view))


def test_the_artifact_keeps_where_the_policy_steps_back(tmp_path: Path) -> None:
    LearnedStrategy(learned((1.5, 2.5))).save(tmp_path / "policy", {})
    found = LearnedStrategy.load(tmp_path).network
    assert found.covered == (1.5, 2.5)
    episode = at_distance(found, 2.0)
    assert float(found.stepped_back(episode)) == pytest.approx(0.5, abs=1e-2)
    assert "covered" not in AcquisitionNetwork().options  # artifacts of policies that never do stay readable


@pytest.mark.parametrize("covered", [(2.0, 1.0), (1.0,), (-1.0, 2.0), ("a", 2.0), 3.0, (float("nan"), 1.0)])
def test_distances_that_do_not_ascend_are_refused(covered: Any) -> None:
    with pytest.raises(InputError, match="covered="):
        AcquisitionNetwork(covered=covered)
