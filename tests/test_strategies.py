"""Strategies against brute-force computations of their definitions, and how they are named and built."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans
from test_strategies_contract import label, make_core, sample

from agents.strategies import STRATEGIES, Strategy, make_strategy
from agents.strategies.adaptive import Tailor, history
from agents.strategies.committee import Committee, committee_probs
from agents.strategies.coverage import DCoM
from agents.strategies.expected import (
    ExpectedEntropyReduction,
    ExpectedErrorReduction,
    ExpectedLogLossReduction,
    ExpectedModelChange,
)
from agents.strategies.information import BAIT
from agents.strategies.mixture import RULES, Mixture
from agents.strategies.privileged import look_ahead
from metaal_env import rules
from metaal_env.balls import ball_gain, pure_radius
from metaal_env.clustering import gaussian_mixture, k_means
from metaal_env.errors import InputError
from metaal_env.learners.maml import MAML
from metaal_env.view import PoolView

UHERDING_ALONE = [float(name == "uherding") for name in RULES] + [0.0] * len(RULES)


def pool(labelled: int = 6, items: int = 25, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings (N, 4), probabilities (N, 3) and labels (N,) with −1 where unknown."""
    rng = np.random.default_rng(seed)
    labels = np.full(items, -1)
    labels[rng.permutation(items)[:labelled]] = np.arange(labelled) % 3
    return rng.normal(size=(items, 4)), rng.dirichlet(np.ones(3), items), labels


def view_of(x: np.ndarray, probs: np.ndarray | None, labels: np.ndarray, **options: object) -> PoolView:
    return PoolView.from_arrays(x, probs, labels, dtype=torch.float64, **options)  # type: ignore[arg-type]


def learner(size: int = 4) -> MAML:
    """Calibrated prototypes whose label-less classes neither always win nor never."""
    made = MAML((size,), body="identity", steps=0)
    with torch.no_grad():
        made.log_scale.fill_(1.0)
        made.unseen_logit.fill_(-2.5)
    return made


# ---- names, paths, classes -------------------------------------------------------------------------------


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'margin'"):
        make_strategy("margn")
    with pytest.raises(InputError, match="neither a registered name nor an existing path"):
        make_strategy("runs/nothing_here")


def test_a_users_class_is_loaded_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from agents.strategies import Strategy\n"
        "class Last(Strategy):\n"
        "    def score(self, view):\n"
        "        return view.valid.cumsum(1).float()\n"
        "class Half(Strategy):\n    pass\n"
        "class Greedy(Strategy):\n"
        "    def __init__(self, must_have, *, seed=0):\n        super().__init__(seed=seed)\n"
        "    def score(self, view):\n        return view.valid\n"
        "class Other:\n    pass\n"
    )
    x, probs, labels = pool()
    strategy = make_strategy(f"{file}:Last", seed=4)
    assert strategy.seed == 4
    assert int(strategy.select(view_of(x, probs, labels))) == int(np.flatnonzero(labels < 0).max())
    for spec, message in (
        (f"{file}", "name its class"),
        (f"{file}:Missing", "not a Strategy subclass"),
        (f"{file}:Other", "not a Strategy subclass"),
        (f"{file}:Half", "lacks score"),
        (f"{file}:Greedy", "must_have"),
        (f"{tmp_path / 'absent.py'}:Last", "no file"),
    ):
        with pytest.raises(InputError, match=message):
            make_strategy(spec)
    broken = tmp_path / "broken.py"
    broken.write_text("import nothing_of_that_name\n")
    with pytest.raises(InputError, match="nothing_of_that_name"):
        make_strategy(f"{broken}:Last")


def test_every_strategy_says_what_it_is() -> None:
    for name, strategy in STRATEGIES.items():
        assert isinstance(make_strategy(name), Strategy)
        assert strategy.__doc__, name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"embeddings": np.zeros(3)}, "embeddings of shape"),
        ({"embeddings": np.full((4, 2), np.nan)}, "NaN"),
        ({"probs": np.ones((3, 2))}, "probs of shape"),
        ({"probs": -np.ones((4, 2))}, "not negative"),
        ({"labels": np.array([0, 5, -1, -1])}, "below K"),
        ({"labels": np.zeros((2, 4), dtype=int)}, "labels of shape"),
        ({"probs": None}, "learner"),
    ],
)
def test_a_malformed_pool_is_refused_in_one_sentence(arguments: dict[str, object], message: str) -> None:
    good: dict[str, object] = {"embeddings": np.eye(4)[:, :2], "probs": np.full((4, 2), 0.5), "labels": None}
    with pytest.raises(InputError, match=message):
        PoolView.from_arrays(**(good | arguments))  # type: ignore[arg-type]


# ---- rules against their definitions ---------------------------------------------------------------------


def test_herding_rules() -> None:
    x, probs, labels = pool()
    view = view_of(x, probs, labels)
    squared = cdist(x, x, "sqeuclidean")
    known = labels >= 0
    mean = squared.mean()
    np.testing.assert_allclose(view.geometry.mean_sq_dist, mean)

    def gain(radius: float, weight: np.ndarray) -> np.ndarray:
        kernel = np.exp(-squared / radius)
        return (weight * np.maximum(kernel - kernel[known].max(0), 0)).mean(1)

    np.testing.assert_allclose(rules.herding_gain(view, 0.2)[0], gain(0.2 * mean, np.ones(25)), atol=1e-12)
    top = np.sort(probs, 1)
    between = squared[known][:, known]
    radius = min(0.5 * mean, between[between > 0].min())
    expected = gain(radius, 1 - (top[:, -1] - top[:, -2]))
    np.testing.assert_allclose(rules.uherding_gain(view, 0.5)[0], expected, atol=1e-12)
    cold = view_of(x, np.full((25, 3), 1 / 3), np.full(25, -1))
    np.testing.assert_allclose(rules.uherding_gain(cold, 0.2), rules.herding_gain(cold, 0.2), atol=1e-12)


def test_density_and_gradient_length() -> None:
    x, probs, labels = pool()
    view = view_of(x, probs, labels)
    squared = cdist(x, x, "sqeuclidean")
    density = np.exp(-squared / (rules.HERDING_WIDTH * squared.mean())).mean(1)
    entropy = -(probs * np.log(probs)).sum(1) / np.log(3)
    np.testing.assert_allclose(make_strategy("information_density").score(view)[0], entropy * density)
    h = np.concatenate([(x - x.mean(0)) / squared.mean() ** 0.5, np.ones((25, 1))], 1)
    length = [
        sum(p[y] * np.linalg.norm(np.outer(p - np.eye(3)[y], row)) for y in range(3))
        for p, row in zip(probs, h, strict=True)
    ]
    np.testing.assert_allclose(make_strategy("gradient_length").score(view)[0], length)


def test_bait_is_the_drop_of_the_block_diagonal_trace() -> None:
    x, probs, labels = pool()
    view = view_of(x, probs, labels)
    h = (x - x.mean(0)) / cdist(x, x, "sqeuclidean").mean() ** 0.5
    h = np.concatenate([h, np.ones((25, 1))], 1)
    w = probs * (1 - probs)

    def trace(chosen: list[int]) -> float:
        total = 0.0
        for c in range(3):
            pool_fisher = sum(w[i, c] * np.outer(h[i], h[i]) for i in range(25)) / 25
            known = sum((w[i, c] * np.outer(h[i], h[i]) for i in chosen), np.eye(5))
            total += np.trace(np.linalg.inv(known) @ pool_fisher)
        return total

    known = np.flatnonzero(labels >= 0).tolist()
    drop = [trace(known) - trace([*known, i]) for i in range(25)]
    np.testing.assert_allclose(BAIT().score(view)[0], drop, atol=1e-10)


def test_ball_coverage() -> None:
    x, probs, labels = pool()
    view = view_of(x, probs, labels)
    radius = float(pure_radius(view))
    squared = cdist(x, x, "sqeuclidean")
    assert np.isclose(np.abs(squared / radius - 1).min(), 0, atol=2e-5)  # one of the pool's own distances
    inside = squared <= radius + 1e-12
    covered = inside[labels >= 0].any(0)
    gain, share = ball_gain(view, torch.tensor([radius + 1e-12], dtype=torch.float64))
    np.testing.assert_array_equal(gain[0], (inside & ~covered).sum(1))
    np.testing.assert_allclose(share, covered.mean())
    # DCoM: little covered, coverage decides; all covered, margin decides.
    assert (
        DCoM(midpoint=2.0, steepness=200).score(view).argmax()
        == gain[0].masked_fill(view.labelled[0], -1).argmax()
    ) or gain.max() == gain[0].sort().values[-2]
    unsure = rules.margin(view).masked_fill(view.labelled, -1)
    certain = DCoM(midpoint=-2.0, steepness=200).score(view).masked_fill(view.labelled, -1)
    assert int(certain.argmax()) == int(unsure.argmax())


def test_k_means_is_as_good_as_the_best_of_ten_random_starts() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5))
    ours = k_means(torch.from_numpy(x)[None], torch.ones(1, 60, dtype=torch.float64), torch.tensor([7]))
    theirs = KMeans(7, n_init=10, random_state=0).fit(x).inertia_
    assert float(ours.sq_dist.sum()) < 1.1 * theirs
    nearest = cdist(x, ours.centres[0].numpy(), "sqeuclidean")
    np.testing.assert_array_equal(ours.assignment[0], nearest.argmin(1))


def test_the_mixture_finds_separated_components() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], 20)
    x = 5 * rng.normal(size=(3, 4))[truth] + rng.normal(size=(60, 4)) * 0.3
    found, density = gaussian_mixture(
        torch.from_numpy(x)[None], torch.ones(1, 60, dtype=torch.float64), torch.tensor([3])
    )
    assert len({(int(a), int(b)) for a, b in zip(truth, found.assignment[0], strict=True)}) == 3
    assert bool(torch.isfinite(density).all())


# ---- look-ahead ------------------------------------------------------------------------------------------


def brute_force_risk(view: PoolView, loss: str) -> np.ndarray:
    """Expected pool loss by adapting to one hypothetical support at a time."""
    assert view.learner is not None and view.features is not None
    x, labels = view.features[0], view.labels[0]
    known = torch.nonzero(labels >= 0).squeeze(1).tolist()
    rest = torch.nonzero(labels < 0).squeeze(1).tolist()
    risks = np.zeros(len(x))
    for i in rest:
        for y in range(3):
            support = x[[*known, i]].unsqueeze(0)
            target = torch.cat([labels[known], torch.tensor([y])]).unsqueeze(0)
            mask = torch.ones_like(target, dtype=torch.bool)
            adapted = view.learner.adapt(support, target, mask, view.class_mask)
            p = torch.softmax(view.learner.predict(adapted, x[rest].unsqueeze(0)), -1)[0].numpy()
            each = 1 - p.max(1) if loss == "error" else -(p * np.log(np.maximum(p, 1e-300))).sum(1)
            risks[i] += float(view.probs[0, i, y]) * each.mean()
    return risks


@pytest.mark.parametrize("labelled", [0, 1, 2, 6])
@pytest.mark.parametrize(
    ("strategy", "loss"), [(ExpectedErrorReduction, "error"), (ExpectedLogLossReduction, "entropy")]
)
def test_expected_error_both_routes_and_brute_force(
    labelled: int, strategy: type[ExpectedErrorReduction], loss: str
) -> None:
    x, probs, labels = pool(labelled)
    view = PoolView.from_arrays(x, probs, labels, learner=learner())
    exact, adapted = strategy().score(view), strategy(exact=False).score(view)
    with torch.no_grad():
        expected = -brute_force_risk(view, loss)
    open_ = view.selectable[0]
    np.testing.assert_allclose(exact[0, open_], expected[open_.numpy()], atol=2e-6)
    np.testing.assert_allclose(adapted[0, open_], expected[open_.numpy()], atol=2e-6)


@pytest.mark.parametrize("strategy", [ExpectedEntropyReduction, ExpectedModelChange])
def test_the_closed_form_equals_re_adapting(strategy: type[ExpectedModelChange]) -> None:
    core = make_core()
    state = core.reset(sample(core, 4))
    for _ in range(4):
        view = core.view(state)
        exact, adapted = strategy().score(view), strategy(exact=False).score(view)
        torch.testing.assert_close(
            exact[view.selectable], adapted[view.selectable], atol=2e-4, rtol=1e-3, check_dtype=False
        )
        label(core, state, 1)


def test_the_oracles_look_ahead_equals_re_adapting() -> None:
    core = make_core(reward_per_class=5)
    state = core.reset(sample(core, 6))
    for _ in range(4):
        view, oracle = core.view(state), core.oracle(state)
        exact, adapted = look_ahead(view, oracle), look_ahead(view, oracle, exact=False)
        for a, b in zip(exact, adapted, strict=True):
            torch.testing.assert_close(a[view.selectable], b[view.selectable], atol=1e-4, rtol=1e-3)
        label(core, state, 1)


def test_a_committee_of_all_features_varies_only_where_a_class_has_two_labels() -> None:
    x, _, _ = pool()
    labels = np.full(25, -1)
    labels[:3] = 0, 1, 2
    single = view_of(x, None, labels, learner=learner())

    class Plain(Committee):
        pass

    probs = committee_probs(single, Plain(feature_share=1.0, members=6))
    torch.testing.assert_close(probs, single.probs.unsqueeze(1).expand_as(probs))
    labels[3] = 0
    double = view_of(x, None, labels, learner=learner())
    assert float(committee_probs(double, Plain(feature_share=1.0, members=6)).std(1).max()) > 1e-3


# ---- batches and chance ----------------------------------------------------------------------------------


def test_a_batch_is_not_the_top_scores() -> None:
    """Three near-copies of the most uncertain item: a batch takes one of them."""
    x = np.array([[0.0, 0], [0.001, 0], [0, 0.001], [3, 0], [0, 3], [-3, -3]])
    probs = np.array([[0.50, 0.50], [0.501, 0.499], [0.499, 0.501], [0.6, 0.4], [0.62, 0.38], [0.9, 0.1]])
    labels = np.array([-1, -1, -1, -1, -1, 0])
    view = view_of(x, probs, labels)
    for name in ("margin", "entropy", "least_confident", "gradient_length", "information_density"):
        picks = make_strategy(name).select_batch(view, 3)[0].tolist()
        assert len({0, 1, 2} & set(picks)) == 1, name


def test_power_margin_draws_in_proportion() -> None:
    probs = np.array([[0.5, 0.5], [0.6, 0.4], [0.8, 0.2]])
    labels, draws = np.full(3, -1), 3000
    view = view_of(
        np.repeat(np.eye(3)[None], draws, 0),
        np.repeat(probs[None], draws, 0),
        np.repeat(labels[None], draws, 0),
    )
    view.seed = torch.arange(draws)
    picks = make_strategy("power_margin").select(view)
    expected = np.array([1, 0.8, 0.4]) ** 4
    frequency = np.bincount(picks.numpy(), minlength=3) / draws
    np.testing.assert_allclose(frequency, expected / expected.sum(), atol=0.04)


def test_without_labels_uncertainty_starts_at_random() -> None:
    core = make_core(initial_labels=0)
    view = core.view(core.reset(sample(core, 8)))
    for name in ("margin", "entropy", "least_confident", "bald"):
        first = make_strategy(name, seed=0).select(view)
        assert not torch.equal(first, make_strategy(name, seed=1).select(view))


def test_tcm_turns_from_covering_to_margin() -> None:
    x, probs, labels = pool(labelled=2)
    view = view_of(x, probs, labels)
    assert torch.equal(make_strategy("tcm").select(view), make_strategy("typiclust").select(view))
    x, probs, labels = pool(labelled=3)
    view = view_of(x, probs, labels)
    assert torch.equal(make_strategy("tcm").select(view), make_strategy("margin").select(view))


# ---- strategies over strategies --------------------------------------------------------------------------


def test_history_replays_what_happened() -> None:
    core = make_core(initial_labels=(0, 2), budget=6, pool_size=(14, 18))
    state = core.reset(sample(core, 4))
    seen = []
    for _ in range(4):
        view = core.view(state)  # its tensors belong to the running state: keep a copy
        seen.append(replace(view, labelled=view.labelled.clone()))
        label(core, state, 1)
    steps = list(history(core.view(state), make_strategy("albl")))
    assert all(bool(real.any()) for *_, real in steps)
    for row in range(4):
        mine = [(before, taken, after) for before, taken, after, real in steps if bool(real[row])]
        assert len(mine) == 4
        for (before, taken, after), then in zip(mine, seen, strict=True):
            assert torch.equal(before.labelled[row], then.labelled[row])
            assert int(before.budget_left[row]) == int(then.budget_left[row])
            assert int(before.seed[row]) == int(then.seed[row])
            torch.testing.assert_close(before.logits[row], then.logits[row])
            assert bool(after.labelled[row, taken[row]]) and not bool(before.labelled[row, taken[row]])


def test_thompson_sampling_comes_to_follow_the_rule_that_finds_classes() -> None:
    core = make_core()
    state = core.reset(sample(core, 4))
    label(core, state, 3)
    view = core.view(state)
    picks = make_strategy("tailor").select(view)
    candidates = Tailor().picks(view)
    assert bool((picks.unsqueeze(1) == candidates).any(1).all())


def test_the_mixture_of_one_rule_is_that_rule() -> None:
    core = make_core()
    state = core.reset(sample(core, 4))
    label(core, state, 2)
    view = core.view(state)
    assert torch.equal(Mixture(weights=UHERDING_ALONE).select(view), make_strategy("uherding").select(view))
    with pytest.raises(InputError, match="weights has 2"):
        Mixture(weights=(1.0, 2.0))


def test_fitting_the_mixture_improves_its_training_return(tmp_path: Path) -> None:
    core = make_core(reward_per_class=6, initial_labels=0)
    bad = Mixture(weights=[-w for w in UHERDING_ALONE])
    elite: list[float] = []
    fitted = bad.fit(
        [core], tasks=24, iterations=4, population=8, progress=lambda _, value: elite.append(value)
    )
    assert elite[-1] >= elite[0]
    fitted.save(tmp_path / "mixture.json")
    assert Mixture.load(tmp_path / "mixture.json").weights == pytest.approx(fitted.weights)
    (tmp_path / "other.json").write_text('{"weights": {"margin": [1, 0]}, "temperature": 0}')
    with pytest.raises(InputError, match="other rules"):
        Mixture.load(tmp_path / "other.json")
