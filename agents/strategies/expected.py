"""Expected change: the effect of a label on the learner, averaged over the possible labels.

The look-ahead over all candidates and labels is batched, in chunks of bounded memory (see `lookahead.py`).
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from agents.strategies.base import STRATEGIES, Strategy
from agents.strategies.lookahead import (
    columns_of,
    hypotheses,
    learner_logits,
    learner_of,
    predict_under,
    tile,
    without_each,
)
from metaal_env.features import rules
from metaal_env.learners.columns import Columns
from metaal_env.look_ahead import MAX_ELEMENTS
from metaal_env.pool.view import PoolView


class ExpectedEffect(Strategy):
    """Averages an effect of a label on the learner over the classes that it may have.

    Args:
        exact: whether to use the closed form where the learner has one; False always re-adapts, for comparison.
    """

    needs_learner = True

    def __init__(self, *, exact: bool = True, seed: int = 0):
        super().__init__(seed=seed)
        self.exact = exact

    def expected(self, view: PoolView, evaluated: Tensor) -> Tensor:
        """Returns the (B, N) expected effect; the closed form predicts the (B, E, D) `evaluated` embeddings."""
        learner_of(view, self)
        columns = columns_of(view, evaluated) if self.exact else None
        effect = self._readapted(view) if columns is None else self._exact(view, columns)
        return (view.probs * effect).sum(-1)

    @abstractmethod
    def _exact(self, view: PoolView, columns: Columns) -> Tensor:
        """Returns the (B, N, K) effects by the closed form."""

    @abstractmethod
    def _readapted(self, view: PoolView) -> Tensor:
        """Returns the (B, N, K) effects by re-adapting the learner."""


class ExpectedRisk(ExpectedEffect):
    """Scores by −Σ_y p(y|x) Σ_j loss(p_{+(x, y)}(·|x_j)) over the unlabelled items j (Roy & McCallum 2001).

    Cost O(N·K·N) elementary operations with a prototypical learner, else N·K adaptations and predictions of the
    pool. Pools beyond `distances.MAX_LANDMARKS` are judged on their landmarks.
    """

    loss: str  # "error": 1 − max p; "entropy": H[p]

    def score(self, view: PoolView) -> Tensor:
        return -self.expected(view, view.geometry.at_landmarks(view.embeddings))

    def _weight(self, view: PoolView) -> Tensor:
        """Returns the (B, E) weights of the landmarks: equal for unlabelled real ones, with sum one."""
        weight = view.geometry.at_landmarks(view.selectable).to(view.embeddings.dtype)
        return weight / weight.sum(1, keepdim=True).clamp(min=1)

    def _readapted(self, view: PoolView) -> Tensor:
        learner, features = learner_of(view, self)
        evaluated = view.geometry.at_landmarks(features)
        weight = self._weight(view)
        b, k = len(view), view.class_mask.shape[1]
        parts = []
        for _, adapted, _ in hypotheses(view, self, evaluated.shape[1]):
            logits = predict_under(view, learner, adapted, evaluated)  # (B, E, K, c·K)
            if self.loss == "error":
                loss = 1 - (logits.amax(2) - logits.logsumexp(2)).exp()  # (B, E, c·K)
            else:
                loss = torch.special.entr(torch.softmax(logits, 2)).sum(2)
            parts.append(torch.einsum("ber,be->br", loss, weight).view(b, -1, k))
        return torch.cat(parts, 1)

    def _exact(self, view: PoolView, columns: Columns) -> Tensor:
        weight = self._weight(view)
        now = view.geometry.at_landmarks(learner_logits(view, self))
        rest, top, entropy = (x.transpose(1, 2).unsqueeze(1) for x in without_each(now))  # (B, 1, K, E)
        b, n = view.valid.shape
        step = max(1, MAX_ELEMENTS // (b * rest.shape[2] * rest.shape[3]))
        parts = []
        for start in range(0, n, step):
            new = columns.logits(slice(start, min(n, start + step)))  # (B, c, K, E)
            gap = new - rest
            if self.loss == "error":
                # max_c p' = exp(max(new, top) − log Z'), and log Z' = rest + softplus(new − rest).
                best = torch.maximum(new, top) - rest - torch.nn.functional.softplus(gap)
                loss = 1 - best.exp()
            else:
                loss = entropy_after(gap, entropy)
            parts.append(torch.einsum("bcke,be->bck", loss, weight))
        return torch.cat(parts, 1)


def entropy_after(gap: Tensor, others: Tensor) -> Tensor:
    """Computes the entropy when class y has the log-odds `gap` against the others, which have entropy `others`.

    By the chain rule, H = H_binary(q) + (1 − q) H_others with q = p(y).
    """
    q, rest = torch.sigmoid(gap), torch.sigmoid(-gap)
    return torch.special.entr(q) + torch.special.entr(rest) + rest * others


@STRATEGIES.register("eer_error")
class ExpectedErrorReduction(ExpectedRisk):
    """Minimises the pool's expected 0/1 error after the label (Roy & McCallum 2001): loss 1 − max_c p(c)."""

    loss = "error"


@STRATEGIES.register("eer_log_loss")
class ExpectedLogLossReduction(ExpectedRisk):
    """Minimises the pool's expected log-loss after the label (Roy & McCallum 2001): loss H[p]."""

    loss = "entropy"


@STRATEGIES.register("entropy_reduction")
class ExpectedEntropyReduction(ExpectedEffect):
    """Scores by H[p(·|x)] − Σ_y p(y|x) H[p_{+(x, y)}(·|x)], the item's own drop in entropy by its label.

    An item that stays in doubt even with its own label is noise, from which nothing can be learned (cf. Roy &
    McCallum 2001). Cost: N·K adaptations.
    """

    def score(self, view: PoolView) -> Tensor:
        return rules.entropy_of(view.probs) - self.expected(view, view.embeddings[:, :0])

    def _readapted(self, view: PoolView) -> Tensor:
        learner, _ = learner_of(view, self)
        b, k = len(view), view.class_mask.shape[1]
        parts = []
        for _, adapted, candidate in hypotheses(view, self, 1):
            probs = torch.softmax(learner.predict(adapted, candidate), -1)  # (B·c·K, 1, K)
            parts.append(rules.entropy_of(probs).view(b, -1, k))
        return torch.cat(parts, 1)

    def _exact(self, view: PoolView, columns: Columns) -> Tensor:
        rest, _, entropy = without_each(learner_logits(view, self))  # (B, N, K)
        return entropy_after(columns.own() - rest, entropy)


@STRATEGIES.register("model_change")
class ExpectedModelChange(ExpectedEffect):
    """Scores by Σ_y p(y|x) ‖θ_{+(x, y)} − θ‖² over adapted weights (Settles & Craven 2008; Freytag et al. 2014).

    The prototype of a class without a label is taken to be the pool's mean embedding, from which a first label moves
    it. Cost: N·K adaptations and no prediction, or O(N·K) with a prototypical learner.
    """

    def score(self, view: PoolView) -> Tensor:
        return self.expected(view, view.embeddings[:, :0])

    def _exact(self, view: PoolView, columns: Columns) -> Tensor:
        """Returns (B, N, K) squared changes: a label moves one prototype by λ(h − p), and one bias."""
        seen = (columns.counts > 0).unsqueeze(1)
        gap = torch.where(seen, columns.candidate_to_prototype, view.geometry.centre_sq_dist.unsqueeze(-1))
        return columns.share.square().unsqueeze(1) * gap + columns.bias_change.square().unsqueeze(1)

    def _readapted(self, view: PoolView) -> Tensor:
        before = self._weights(view, view.adapted or {}, 1)
        b, k = len(view), view.class_mask.shape[1]
        parts = []
        for part, adapted, _ in hypotheses(view, self, 1):
            copies = (part.stop - part.start) * k
            after = self._weights(view, adapted, copies)
            change = sum(
                (after[name] - before[name].unsqueeze(1)).flatten(2).square().sum(-1) for name in before
            )
            assert isinstance(change, Tensor)  # every learner adapts something
            parts.append(change.view(b, -1, k))
        return torch.cat(parts, 1)

    @staticmethod
    def _weights(view: PoolView, adapted: dict[str, Tensor], copies: int) -> dict[str, Tensor]:
        """Returns name → (B, copies, …) adapted weights, or (B, …) for one copy, with label-less prototypes set."""
        weights = {}
        for name, value in adapted.items():
            if name == "counts" or not value.is_floating_point():
                continue
            if name == "prototypes" and value.shape[-1] == view.embeddings.shape[-1]:
                weight = view.valid / view.valid.sum(1, keepdim=True)
                mean = torch.einsum("bn,bnd->bd", weight.to(value.dtype), view.embeddings)
                empty = (adapted["counts"] == 0).unsqueeze(-1)
                value = torch.where(empty, tile(mean, copies).unsqueeze(1), value)
            weights[name] = (
                value if copies == 1 and len(value) == len(view) else value.unflatten(0, (len(view), -1))
            )
        return weights


@STRATEGIES.register("gradient_length")
class ExpectedGradientLength(Strategy):
    """Scores by Σ_y p(y|x) ‖∇_W ℓ(x, y)‖ of a linear softmax head W (Settles & Craven 2008, EGL).

    The gradient is (p − e_y) ⊗ [h; 1], so its expected length is √(‖h‖² + 1) Σ_y p(y) ‖p − e_y‖ with h in
    units of the pool's root mean squared distance around its mean. Cost O(N·(D + K)).
    """

    def score(self, view: PoolView) -> Tensor:
        length = (view.geometry.centre_sq_dist / view.geometry.mean_sq_dist.unsqueeze(1) + 1).sqrt()
        p = view.probs
        residual = (p.square().sum(-1, keepdim=True) - 2 * p + 1).clamp(min=0).sqrt()  # (B, N, K)
        return length * (p * residual).sum(-1)
