"""Query by committee: heads of the inner learner adapted to bootstrap samples of the labels.

All members of all episodes adapt as one batch of B·M supports. Without labels these rules start at random.
Cost: M adaptations and M·N predictions.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from agents.strategies.base import STRATEGIES, Strategy, random_if, stack_picks, unlabelled
from agents.strategies.lookahead import MAX_ELEMENTS, learner_of, support, tile
from metaal_env.batched import take_rows
from metaal_env.features import rules
from metaal_env.oracle import LabelOracle
from metaal_env.pool.view import PoolView


@torch.no_grad()
def committee_probs(view: PoolView, strategy: Committee) -> Tensor:
    """Returns (B, M, N, K) class probabilities of learners adapted to resampled labels, guesses and features.

    Labels are drawn with replacement within each class. A plain bootstrap (Breiman 1996) of a few labels would lose
    whole classes, and the committee would disagree most about the best known ones. Each member guesses one random item
    for every class without a label, as its own prior. A bootstrap alone has no uncertainty without data (Osband et al.
    2018, arXiv 1806.03335), so members would agree on all items of unseen classes. Each member keeps a random share of
    the features, scaled up to keep distances (random patches, Louppe & Geurts 2012), so that classes with one label
    vary too.
    """
    learner, features = learner_of(view, strategy)
    items, labels, mask = support(view, features)
    members, keep = strategy.members, strategy.feature_share
    b, s = mask.shape
    n, size = features.shape[1], features[0, 0].numel()
    kept = view.random(lambda rng: rng.random((members, size)) < keep, strategy.seed)
    kept = kept.view(b, members, 1, *features.shape[2:]).to(features.dtype) / keep**0.5
    nth = stratified_bootstrap(view, labels, mask, members, strategy.seed + 1)  # (B, M, S)
    guess, absent = guesses(view, members, strategy.seed + 2)  # (B, M, K), (B, K)
    absent = absent & strategy.guess
    parts = ((items, nth), (features, guess))
    sample = torch.cat([take_rows(x, i.flatten(1)).unflatten(1, i.shape[1:]) for x, i in parts], 2)
    drawn = torch.take_along_dim(labels, nth.flatten(1), 1).view(b * members, s)
    classes = torch.arange(guess.shape[2], device=view.device).expand(b * members, -1)
    adapted = learner.adapt(
        (sample * kept).flatten(0, 1),
        torch.cat([drawn, classes], 1),
        tile(torch.cat([mask, absent], 1), members),
        tile(view.class_mask, members),
    )
    step = max(1, MAX_ELEMENTS // (b * members * size))
    logits = [
        learner.predict(adapted, (features[:, start : start + step].unsqueeze(1) * kept).flatten(0, 1))
        for start in range(0, n, step)
    ]
    return torch.softmax(torch.cat(logits, 1), -1).unflatten(0, (b, members))


def guesses(view: PoolView, members: int, stream: int) -> tuple[Tensor, Tensor]:
    """Returns (B, M, K) random unlabelled items, one per member and class, and the (B, K) classes in need."""
    k = view.class_mask.shape[1]
    # Drawn class by class, so that padding of the classes changes none of them.
    draw = view.random(lambda rng: rng.random((k, members)), stream).transpose(1, 2)
    passed = view.selectable.cumsum(1)  # (B, N)
    nth = (draw * passed[:, -1:].unsqueeze(1)).long() + 1
    item = torch.searchsorted(passed, nth.flatten(1)).view(nth.shape)
    left = view.selectable.any(1, keepdim=True)
    return torch.where(left.unsqueeze(1), item, 0), ~view.seen & view.class_mask & left


def stratified_bootstrap(view: PoolView, labels: Tensor, mask: Tensor, members: int, stream: int) -> Tensor:
    """Draws for every label one of its class with replacement, and returns (B, M, S) support positions."""
    s = mask.shape[1]
    # Draws are laid out label by label, so that padding of the support changes none of them.
    draw = view.random(lambda rng: rng.random((s, members)), stream).transpose(1, 2)  # (B, M, S)
    same = (labels.unsqueeze(1) == labels.unsqueeze(2)) & mask.unsqueeze(1) & mask.unsqueeze(2)  # (B, S, S)
    count = same.sum(-1)  # (B, S)
    members_first = torch.argsort((~same).long(), dim=-1, stable=True)  # (B, S, S) own class first
    nth = torch.minimum((draw * count.unsqueeze(1)).long(), (count - 1).clamp(min=0).unsqueeze(1))
    return torch.take_along_dim(members_first, nth.transpose(1, 2), 2).transpose(1, 2)


def vote_entropy(probs: Tensor) -> Tensor:
    """Computes the (B, N) entropy of the votes of (B, M, N, K) members in nats (Dagan & Engelson 1995)."""
    return rules.entropy_of(_votes(probs))


def variation_ratios(probs: Tensor) -> Tensor:
    """Computes the (B, N) share of (B, M, N, K) members that vote against the majority (Freeman 1965)."""
    return 1 - _votes(probs).amax(-1)


def mutual_information(probs: Tensor) -> Tensor:
    """Computes (B, N) H[mean p] − mean H[p] of (B, M, N, K) members: BALD, their mean KL from the consensus."""
    return (rules.entropy_of(probs.mean(1)) - rules.entropy_of(probs).mean(1)).clamp(min=0)


def _votes(probs: Tensor) -> Tensor:
    """Returns the (B, N, K) share of members that vote for each class."""
    return torch.nn.functional.one_hot(probs.argmax(-1), probs.shape[-1]).to(probs.dtype).mean(1)


class Committee(Strategy):
    """Scores by the disagreement of `members` bootstrapped learners.

    Args:
        members: size of the committee.
        feature_share: share of the features that each member sees; 1 for all of them.
        guess: whether members guess an item for every class without a label.
    """

    stochastic = True
    needs_learner = True

    def __init__(self, *, members: int = 10, feature_share: float = 0.5, guess: bool = True, seed: int = 0):
        super().__init__(seed=seed)
        self.members, self.feature_share, self.guess = members, feature_share, guess

    @abstractmethod
    def disagreement(self, probs: Tensor) -> Tensor:
        """Maps (B, M, N, K) members' probabilities to (B, N) disagreements."""

    def score(self, view: PoolView) -> Tensor:
        disagreement = self.disagreement(committee_probs(view, self))
        return random_if(unlabelled(view), disagreement, view, self.seed)  # its members know labels alone


@STRATEGIES.register("vote_entropy")
class VoteEntropy(Committee):
    """Scores by the entropy of the committee's votes (Dagan & Engelson 1995); ties go to the larger BALD score."""

    def disagreement(self, probs: Tensor) -> Tensor:
        return vote_entropy(probs) + _tie_break(probs)


@STRATEGIES.register("variation_ratios")
class VariationRatios(Committee):
    """Scores by 1 − share of the modal vote (Beluch et al. 2018); ties go to the larger BALD score."""

    def disagreement(self, probs: Tensor) -> Tensor:
        return variation_ratios(probs) + _tie_break(probs)


def _tie_break(probs: Tensor) -> Tensor:
    """Returns numbers in the order of BALD, smaller than any difference between two vote counts."""
    return 1e-3 * mutual_information(probs)


@STRATEGIES.register("consensus_kl")
class ConsensusKL(Committee):
    """Scores by (1/M) Σ_m KL(p_m ‖ mean p) (McCallum & Nigam 1998), computed from the divergences themselves."""

    def disagreement(self, probs: Tensor) -> Tensor:
        consensus = probs.mean(1, keepdim=True)
        return (torch.special.xlogy(probs, probs) - torch.special.xlogy(probs, consensus)).sum(-1).mean(1)


@STRATEGIES.register("bald")
class BALD(Committee):
    """Scores by H[mean p] − mean H[p], the label's information about the learner (Houlsby et al. 2011)."""

    def disagreement(self, probs: Tensor) -> Tensor:
        return mutual_information(probs)


@STRATEGIES.register("batch_bald")
class BatchBALD(BALD):
    """Scores by the joint mutual information of a batch (Kirsch et al. 2019); a single pick is BALD.

    The joint label distribution of the picks is exact up to `configurations` combinations and sampled beyond.
    Cost per pick O(N·M·K·configurations).
    """

    def __init__(self, *, configurations: int = 256, **committee: Any):
        super().__init__(**committee)
        self.configurations = configurations

    def select_batch(self, view: PoolView, size: int, oracle: LabelOracle | None = None) -> Tensor:
        probs = committee_probs(view, self)  # (B, M, N, K)
        conditional = rules.entropy_of(probs).mean(1)  # (B, N)
        b, m, _, k = probs.shape
        joint = probs.new_ones(b, 1, m)  # (B, J, M) probability of each label combination under each member
        weight = probs.new_ones(b, 1)  # (B, J)
        picks: list[Tensor] = []
        uniform = view.random(lambda rng: rng.random((size, self.configurations)), self.seed + 1)
        cold = random_if(unlabelled(view), torch.zeros_like(conditional), view, self.seed)
        for step in range(size):
            scores = batch_mutual_information(joint, weight, probs, conditional) + cold
            pick = scores.masked_fill(~view.selectable, -torch.inf).argmax(1)
            picks.append(torch.where(view.selectable.any(1), pick, -1))
            view = view.with_pending(picks[-1])
            chosen = torch.take_along_dim(probs, pick.view(-1, 1, 1, 1), 2).squeeze(2)  # (B, M, K)
            joint = (joint.unsqueeze(2) * chosen.transpose(1, 2).unsqueeze(1)).flatten(1, 2)  # (B, J·K, M)
            prior = joint.mean(-1)
            previous = weight / prior.unflatten(1, (-1, k)).sum(-1).clamp(min=1e-30)
            weight = (previous.unsqueeze(2) * prior.unflatten(1, (-1, k))).flatten(1)
            if joint.shape[1] > self.configurations:
                kept = torch.searchsorted(
                    weight.cumsum(1).contiguous(),
                    uniform[:, step].to(weight.dtype) * weight.sum(1, keepdim=True),
                ).clamp(max=joint.shape[1] - 1)
                joint = torch.take_along_dim(joint, kept.unsqueeze(-1), 1)
                weight = torch.full_like(kept, 1.0, dtype=probs.dtype) / self.configurations
        return stack_picks(picks, view)


def batch_mutual_information(joint: Tensor, weight: Tensor, probs: Tensor, conditional: Tensor) -> Tensor:
    """Returns the (B, N) joint entropy of the picks and each item, less the item's conditional entropy.

    The picks' own conditional entropy is the same for every item and is left out.

    Args:
        joint: (B, J, M) probability of label combination j of the picks under member m.
        weight: (B, J) weight of each combination: its probability, or 1/J when it was sampled.
        probs: (B, M, N, K).
        conditional: (B, N) mean entropy of the members.
    """
    m = joint.shape[-1]
    both = torch.einsum("bjm,bmnk->bjnk", joint, probs) / m  # (B, J, N, K)
    prior = joint.mean(-1).clamp(min=1e-30)
    entropy = -torch.einsum("bj,bjn->bn", weight / prior, torch.special.xlogy(both, both).sum(-1))
    return entropy - conditional
