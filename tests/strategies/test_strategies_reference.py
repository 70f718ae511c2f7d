"""Our utilities against scikit-activeml's on the same inputs: the same ranking of candidates, up to ties."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.clusters import clusters
from scipy.stats import rankdata
from torch import Tensor

from agents.loading import load_strategy
from agents.strategies.committee import batch_mutual_information, mutual_information
from agents.strategies.committee import variation_ratios as our_variation_ratios
from agents.strategies.committee import vote_entropy as our_vote_entropy
from agents.strategies.diversity import DiscriminativeAL
from agents.strategies.herding import MaxHerding
from agents.strategies.information import McPAL, cost_reduction, label_frequencies
from metaal_env.features import rules
from metaal_env.learners.base import Adapted, InnerLearner
from metaal_env.pool.ball_cover import ball_gain
from metaal_env.pool.view import PoolView

pool = pytest.importorskip("skactiveml.pool")
from skactiveml.classifier import ParzenWindowClassifier, SklearnClassifier  # noqa: E402
from sklearn.datasets import load_iris  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402


def random_pool(seed: int, labelled: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """60 items of 3 overlapping classes, 4 features; y is nan where unknown."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, 60)
    x = clusters(truth, 4, noise=0.6, seed=rng)
    y = np.full(60, np.nan)
    first = [int(np.flatnonzero(truth == c)[0]) for c in range(3)]
    chosen = (first + [i for i in range(60) if i not in first])[:labelled]
    y[chosen] = truth[chosen]
    return x, y


def iris_pool(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x, truth = load_iris(return_X_y=True)
    # Iris holds exact duplicates, whose ties would be broken by rounding.
    rows = rng.permutation(np.unique(x, axis=0, return_index=True)[1])[:80]
    y = np.full(80, np.nan)
    y[:10] = truth[rows[:10]]
    return x[rows], y


POOLS = [lambda: random_pool(0), lambda: random_pool(1), lambda: iris_pool(0)]


def classifier() -> SklearnClassifier:
    return SklearnClassifier(LogisticRegression(max_iter=2000), classes=[0, 1, 2], random_state=0)


def view_of(x: np.ndarray, y: np.ndarray, probs: np.ndarray | None = None, **options: object) -> PoolView:
    labels = np.where(np.isnan(y), -1, y).astype(int)
    if probs is None and "learner" not in options:
        probs = np.full((len(x), 3), 1 / 3)
    return PoolView.from_arrays(x, probs, labels, dtype=torch.float64, **options)  # type: ignore[arg-type]


def same_ranking(ours: Tensor, theirs: np.ndarray, view: PoolView, digits: int = 7) -> None:
    """Equal ranks among the candidates; values that agree to `digits` of the range are ties."""
    open_ = view.selectable[0].numpy()
    ranks = []
    for values in (ours[0].double().numpy()[open_], np.asarray(theirs, dtype=float)[open_]):
        span = max(values.max() - values.min(), 1e-300)
        ranks.append(rankdata(np.round((values - values.min()) / span, digits)))
    np.testing.assert_array_equal(*ranks)


@pytest.mark.parametrize("make", POOLS)
@pytest.mark.parametrize(
    ("name", "method"),
    [("least_confident", "least_confident"), ("margin", "margin_sampling"), ("entropy", "entropy")],
)
def test_uncertainty(make: object, name: str, method: str) -> None:
    x, y = make()  # type: ignore[operator]
    clf = classifier().fit(x, y)
    _, utilities = pool.UncertaintySampling(method=method, random_state=0).query(
        x, y, clf, fit_clf=False, return_utilities=True
    )
    view = view_of(x, y, clf.predict_proba(x))
    same_ranking(load_strategy(name).score(view), utilities[0], view)


@pytest.mark.parametrize("make", POOLS)
def test_k_center(make: object) -> None:
    x, y = make()  # type: ignore[operator]
    _, utilities = pool.CoreSet(random_state=0).query(x, y, return_utilities=True)
    view = view_of(x, y)
    same_ranking(load_strategy("k_center").score(view), utilities[0], view)


@pytest.mark.parametrize("make", POOLS)
@pytest.mark.parametrize("cold", [False, True])
def test_max_herding(make: object, cold: bool) -> None:
    x, y = make()  # type: ignore[operator]
    y = np.full(len(y), np.nan) if cold else y
    view = view_of(x, y)
    gamma = 1 / (0.2 * float(view.geometry.mean_sq_dist))
    reference = pool.MaxHerding(normalize_samples=False, metric_dict={"gamma": gamma}, random_state=0)
    picks, utilities = reference.query(x, y, batch_size=5, return_utilities=True)
    for pick, expected in zip(picks, utilities, strict=True):
        same_ranking(MaxHerding(width=0.2).score(view), expected, view)
        view = view.with_pending(torch.tensor([pick]))  # the batch, pick by pick


def blobs(sizes: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Clusters so far apart that every k-means finds them."""
    return clusters(np.arange(len(sizes)).repeat(sizes), 3, apart=100, seed=seed)


def test_typiclust() -> None:
    """On separated clusters: elsewhere the reference's k-means is random. It ranks one cluster only."""
    x = blobs((12, 9, 15, 24))
    y = np.full(len(x), np.nan)
    y[[0, 13, 22]] = 0, 1, 2  # one label in each of the first three clusters
    picks, utilities = pool.TypiClust(k=20, random_state=0).query(x, y, return_utilities=True)
    view = view_of(x, y)
    ours = load_strategy("typiclust").score(view)
    inside = np.isfinite(utilities[0])
    assert inside.sum() == 24
    np.testing.assert_array_equal(
        rankdata(ours[0].numpy()[inside].round(9)), rankdata(utilities[0][inside].round(9))
    )
    assert int(ours[0].masked_fill(~view.selectable[0], -torch.inf).argmax()) == picks[0]


@pytest.mark.parametrize("make", POOLS)
def test_probcover(make: object) -> None:
    """At the same radius; the reference tunes its radius over absolute distances, we over quantiles."""
    x, y = make()  # type: ignore[operator]
    view = view_of(x, y)
    distances = np.unique(view.geometry.sq_dist.sqrt().numpy().round(9))
    at = len(distances) // 10
    radius = float(distances[at : at + 2].mean())  # between two distances, so that rounding decides nothing
    reference = pool.ProbCover(n_classes=3, deltas=[radius], random_state=0)
    with pytest.warns(UserWarning, match="purity"):
        _, utilities = reference.query(x, y, return_utilities=True)
    gain, _ = ball_gain(view, torch.tensor([radius**2], dtype=torch.float64))
    same_ranking(gain, utilities[0], view)


@pytest.mark.parametrize("make", POOLS)
def test_discriminative(make: object) -> None:
    x, y = make()  # type: ignore[operator]
    view = view_of(x, y)
    scaled = (x - x.mean(0)) / float(view.geometry.mean_sq_dist) ** 0.5
    discriminator = SklearnClassifier(LogisticRegression(C=1.0, tol=1e-12, max_iter=10_000), classes=[0, 1])
    reference = pool.DiscriminativeAL(greedy_selection=True, random_state=0)
    _, utilities = reference.query(scaled, y, discriminator=discriminator, return_utilities=True)
    same_ranking(
        torch.sigmoid(DiscriminativeAL(iterations=40, tolerance=0).score(view)), utilities[0], view, digits=5
    )


def committee(seed: int, members: int = 5, items: int = 40, classes: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(classes, 0.7), size=(members, items))


@pytest.mark.parametrize("seed", range(3))
def test_committee_measures(seed: int) -> None:
    probs = committee(seed)
    ours = torch.from_numpy(probs).unsqueeze(0)
    votes = probs.argmax(-1).T
    from skactiveml.pool import average_kl_divergence, variation_ratios, vote_entropy

    np.testing.assert_allclose(our_vote_entropy(ours)[0], vote_entropy(votes, np.arange(3)), atol=1e-9)
    np.testing.assert_allclose(our_variation_ratios(ours)[0], variation_ratios(votes), atol=1e-9)
    np.testing.assert_allclose(mutual_information(ours)[0], average_kl_divergence(probs.copy()), atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_bald_and_batch_bald(seed: int) -> None:
    probs = committee(seed)
    utilities = pool.batch_bald(probs.copy(), batch_size=3, n_MC_samples=1000, random_state=0)
    ours = torch.from_numpy(probs).unsqueeze(0)  # (1, M, N, K)
    conditional = rules.entropy_of(ours).mean(1)
    np.testing.assert_allclose(mutual_information(ours)[0], utilities[0], atol=1e-5)
    # Second and third pick: the exact joint of those before them.
    joint = torch.ones(1, 1, 5, dtype=torch.float64)
    taken: list[int] = []
    for step in range(3):
        scores = batch_mutual_information(joint, joint.mean(-1), ours, conditional)[0]
        left = [i for i in range(40) if i not in taken]
        gap = scores[left].numpy() - utilities[step][left]
        np.testing.assert_allclose(gap, gap[0], atol=1e-5)  # the picks' own entropy is a constant
        taken.append(int(np.nanargmax(utilities[step])))
        joint = torch.einsum("bjm,bmk->bjkm", joint, ours[:, :, taken[-1]]).flatten(1, 2)


class Parzen(InnerLearner):
    """scikit-activeml's ParzenWindowClassifier as an inner learner."""

    def __init__(self, gamma: float) -> None:
        super().__init__()
        self.gamma = gamma

    def prepare(self, inputs: Tensor) -> Tensor:
        return inputs

    def adapt(self, support: Tensor, labels: Tensor, mask: Tensor, class_mask: Tensor) -> Adapted:
        hot = torch.nn.functional.one_hot(labels.clamp(min=0), class_mask.shape[1]).to(support.dtype)
        return {"support": support, "hot": hot * mask.unsqueeze(-1)}

    def predict(self, adapted: Adapted, features: Tensor) -> Tensor:
        kernel = torch.exp(-self.gamma * torch.cdist(features, adapted["support"]).square())
        return (kernel @ adapted["hot"]).clamp(min=1e-300).log()

    def embed(self, adapted: Adapted, features: Tensor) -> Tensor:
        return features


@pytest.mark.parametrize("make", POOLS)
@pytest.mark.parametrize(
    ("name", "method"), [("eer_error", "misclassification_loss"), ("eer_log_loss", "log_loss")]
)
def test_expected_error_reduction(make: object, name: str, method: str) -> None:
    """Judged on the candidates, as the reference is told to by `X_eval`."""
    x, y = make()  # type: ignore[operator]
    gamma = 0.5
    clf = ParzenWindowClassifier(classes=[0, 1, 2], metric="rbf", metric_dict={"gamma": gamma})
    reference = pool.MonteCarloEER(method=method, random_state=0)
    _, utilities = reference.query(x, y, clf, X_eval=x[np.isnan(y)], return_utilities=True)
    view = view_of(x, y, learner=Parzen(gamma))
    assert not load_strategy(name).score(view).requires_grad
    same_ranking(load_strategy(name).score(view), utilities[0], view, digits=6)


@pytest.mark.parametrize("make", POOLS)
def test_mcpal(make: object) -> None:
    x, y = make()  # type: ignore[operator]
    clf = ParzenWindowClassifier(classes=[0, 1, 2], metric="rbf", metric_dict={"gamma": 0.5}).fit(x, y)
    view = view_of(x, y, clf.predict_proba(x))
    width = 1 / (0.5 * float(view.geometry.mean_sq_dist))
    frequencies = label_frequencies(view, width).unsqueeze(-1) * view.probs
    np.testing.assert_allclose(frequencies[0], clf.predict_freq(x), rtol=1e-6, atol=1e-9)
    ours = cost_reduction(frequencies, view.class_mask, m_max=2)
    np.testing.assert_allclose(ours[0], pool.cost_reduction(frequencies[0].numpy(), m_max=2), atol=1e-9)
    _, utilities = pool.ProbabilisticAL(
        prior=1e-3, m_max=2, metric="rbf", metric_dict={"gamma": 0.5}, random_state=0
    ).query(x, y, clf, fit_clf=False, return_utilities=True)
    same_ranking(McPAL(width=width, density=False).score(view), utilities[0], view, digits=6)


@pytest.mark.parametrize("make", POOLS)
def test_badge(make: object) -> None:
    """First pick only: the reference draws the others at random. Its features are centred beforehand."""
    x, y = make()  # type: ignore[operator]
    x = x - x.mean(0)
    clf = classifier().fit(x, y)
    _, utilities = pool.Badge(random_state=0).query(x, y, clf, fit_clf=False, return_utilities=True)
    view = view_of(x, y, clf.predict_proba(x))
    same_ranking(load_strategy("badge").score(view), utilities[0], view)


def test_clue() -> None:
    """Batches on separated clusters: the reference degenerates for one item, and its k-means is random."""
    x = blobs((12, 9, 15, 24), seed=3)
    y = np.full(len(x), np.nan)
    probs = np.random.default_rng(0).dirichlet(np.ones(3), len(x))

    class Fixed(ParzenWindowClassifier):
        def predict_proba(self, X: np.ndarray) -> np.ndarray:
            return probs

    clf = Fixed(classes=[0, 1, 2]).fit(x, y)
    picks = pool.Clue(method="entropy", random_state=0).query(x, y, clf, fit_estimator=False, batch_size=4)
    view = view_of(x, y, probs)
    assert sorted(load_strategy("clue").select_batch(view, 4)[0].tolist()) == sorted(picks.tolist())


def test_falcun() -> None:
    """The reference draws its pick: we compare how often each item is drawn with its stated probabilities."""
    x, y = random_pool(2)
    clf = classifier().fit(x, y)
    _, utilities = pool.Falcun(gamma=10, random_state=0).query(
        x, y, clf, fit_clf=False, return_utilities=True
    )
    probability = np.nan_to_num(utilities[0])
    draws = 4000
    view = view_of(
        np.repeat(x[None], draws, 0),
        np.repeat(y[None], draws, 0),
        np.repeat(clf.predict_proba(x)[None], draws, 0),
    )
    view.seed = torch.arange(draws)
    picks = load_strategy("falcun").select(view)
    frequency = np.bincount(picks.numpy(), minlength=len(x)) / draws
    assert np.abs(frequency - probability).max() < 4 * np.sqrt(0.25 / draws)
