"""Partitions and look-ahead over them in compiled loops.

Where rounding decides between two nearly equal draws, a pool's partitions differ from those in torch.
"""

from __future__ import annotations

from typing import Any

from metaal_env.compiled import loops_for
from metaal_env.pool.view import PoolView


def loops(view: PoolView) -> Any:
    """Returns the module `metaal_env.pool.compiled.partitions` if it serves this view, else None."""
    if loops_for(view.embeddings) is None:
        return None
    from metaal_env.pool.compiled import partitions  # needs numba

    return partitions
