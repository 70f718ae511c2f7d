"""Compiled loops against their reference in torch: the same partitions, and the same values up to rounding."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.clusters import clusters
from helpers.views import build
from torch import Tensor

from metaal_env.compiled import SWITCH
from metaal_env.features import item_scores, rules, shared
from metaal_env.learners.base import EXCLUDED_LOGIT
from metaal_env.metrics import score
from metaal_env.pool import compiled, partitions
from metaal_env.pool.expected_gain import expected_accuracy, expected_likelihood
from metaal_env.pool.view import PoolView

pytest.importorskip("numba")

FUNCTIONS: list[Callable[[PoolView], Tensor]] = [
    partitions.agreement,
    partitions.variance_within,
    partitions.class_sizes,
    partitions.partition_novelty,
    partitions.partition_cover,
    partitions.typicality_within,
    expected_accuracy,
    expected_likelihood,
    rules.entropy,
    rules.novelty,
    rules.uherding_gain,
    rules.labelled_radius,
    item_scores.probcover,
    item_scores.density,
    shared.walk_margin,
    shared.walk_need,
    lambda view: shared.visits(view)[:, 0],
    lambda view: shared.visits(view)[:, 1],
    lambda view: shared.neighbour_means(view)[..., 1],
    lambda view: view.beliefs.top[2],
    lambda view: rules.herding_gain(view),
]


def pools(n: int, d: int, k: int, labels: int, *, pending: bool = False, padded: bool = False) -> PoolView:
    """Three pools; `pending` leaves some labelled items without a class, `padded` leaves some items out."""
    rng = np.random.default_rng(n + labels)
    truth = rng.integers(0, k, (3, n))
    x = np.stack([clusters(classes, d, apart=2.5, seed=rng) for classes in truth])
    valid = torch.ones(3, n, dtype=torch.bool)
    if padded:
        valid[0, -n // 4 :] = valid[1, 1::5] = False
    order = torch.stack([row.nonzero().squeeze(1)[torch.randperm(int(row.sum()))[:labels]] for row in valid])
    revealed = torch.full((3, n), -1).scatter_(
        1, order, torch.take_along_dim(torch.from_numpy(truth), order, 1)
    )
    if pending:
        revealed.scatter_(1, order[:, ::2], -1)
    logits = torch.from_numpy(rng.normal(size=(3, n, k))).float()
    view = build(torch.from_numpy(x).float(), logits, revealed, order, valid)
    view.labelled = torch.zeros(3, n, dtype=torch.bool).scatter_(1, order, True)
    if padded:
        view.order = torch.cat([view.order, torch.full((3, 2), -1)], 1)
        view.class_mask[1, -2:] = False
        view.labels[1] = view.labels[1].masked_fill(view.labels[1] >= k - 2, -1)
    return view


@pytest.mark.parametrize(
    "view",
    [
        pytest.param(lambda: pools(40, 5, 4, 0), id="no label"),
        pytest.param(lambda: pools(40, 5, 4, 6), id="labels"),
        pytest.param(lambda: pools(50, 90, 6, 9), id="more dimensions than items"),
        pytest.param(lambda: pools(45, 5, 6, 9, padded=True), id="padding and fewer classes"),
        pytest.param(lambda: pools(40, 5, 4, 6, pending=True), id="labelled items of no class"),
        pytest.param(lambda: pools(300, 5, 4, 12, padded=True), id="more items than are clustered"),
        pytest.param(lambda: pools(3, 2, 4, 1), id="fewer items than classes"),
    ],
)
def test_values_are_those_of_the_reference(
    view: Callable[[], PoolView], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    one, other = view(), None
    assert compiled.loops(one)
    found = [function(one) for function in FUNCTIONS]
    torch.manual_seed(0)
    other = view()
    monkeypatch.setenv(SWITCH, "0")
    assert compiled.loops(other) is None
    for function, values in zip(FUNCTIONS, found, strict=True):
        wanted = function(other)
        if wanted.shape == other.valid.shape:
            values, wanted = values * other.valid, wanted * other.valid
        torch.testing.assert_close(
            values, wanted, atol=2e-4, rtol=1e-4, msg=lambda text, name=function.__name__: f"{name}: {text}"
        )


def test_doubles_and_other_devices_stay_with_the_reference() -> None:
    view = pools(20, 3, 4, 2)
    view.embeddings = view.embeddings.double()
    assert compiled.loops(view) is None


@pytest.mark.parametrize("begin", [0, 7])
def test_compiled_scores_of_predictions_equal_those_in_torch(
    begin: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 5 * torch.randn(12, 6, begin + 50, generator=generator)
    logits[:, 4] = logits[:, 2]  # ties
    logits[:4, 5] = EXCLUDED_LOGIT
    labels = torch.randint(-1, 5, (3, 50), generator=generator)
    fast = score(logits, labels, begin)
    monkeypatch.setenv(SWITCH, "0")
    slow = score(logits, labels, begin)
    assert torch.equal(fast.accuracy, slow.accuracy)
    assert 0 < float(slow.accuracy.min()) < float(slow.accuracy.max()) < 1
    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=1e-5)


def test_loops_compile_where_no_folder_keeps_them(monkeypatch: pytest.MonkeyPatch) -> None:
    import numba

    from metaal_env.compiled.kernels import arithmetic

    njit = numba.njit

    def refuse(*, cache: bool = False, **settings: Any) -> Any:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(**settings)

    monkeypatch.setattr(numba, "njit", refuse)
    assert arithmetic.jit(lambda x: x + 1)(1.0) == 2.0


def test_code_older_than_any_source_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from metaal_env import compiled as package

    (cache := tmp_path / "__pycache__").mkdir()
    for name, seconds in (
        ("sweep.py", 10),
        ("arithmetic.py", 30),
        ("__pycache__/sweep.1.nbi", 20),
        ("__pycache__/sweep.2.nbc", 40),
    ):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (seconds, seconds))
    monkeypatch.setattr(package, "KERNELS", tmp_path)
    package._forget_stale_code()
    assert [file.name for file in cache.iterdir()] == ["sweep.2.nbc"]


def test_torch_serves_where_numba_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    from metaal_env import compiled as package

    monkeypatch.setitem(sys.modules, "metaal_env.compiled.loops", None)
    monkeypatch.delattr(package, "loops", raising=False)
    package._loops.cache_clear()
    try:
        with pytest.warns(UserWarning, match="numba cannot be imported"):
            assert package.loops_for(torch.zeros(1)) is None
        assert package.loops_for(torch.zeros(1)) is None
    finally:
        package._loops.cache_clear()


def test_compiled_beliefs_read_logits_where_they_are() -> None:
    loops = pytest.importorskip("metaal_env.compiled.loops")
    wide = torch.randn(3, 4, 9, generator=torch.Generator().manual_seed(0))
    within = wide[:, :, :5]
    assert loops.whole_rows(within).data_ptr() == wide.data_ptr()
    for part in (within, wide[:, :, 2:7], wide[:, 1:, :5], wide.transpose(1, 2)):
        for found, wanted in zip(loops.beliefs(part), loops.beliefs(part.contiguous()), strict=True):
            assert torch.equal(found, wanted)
