"""A small soak: work over and over takes no more files and no more memory."""

import gc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.robustness import soak
from metaal_env.errors import InputError

SAMPLES = 12


@pytest.fixture(autouse=True)
def only_new_objects() -> Iterator[None]:
    """Every sample collects garbage; what other tests have left alive need not be looked through each time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize(("work", "times"), [("episodes", 12), ("queries", 12)])
def test_open_files_do_not_grow(work: str, times: int) -> None:
    config = soak.Config(num_envs=4, dataset="digits", way=5, budget=4)
    used = soak.soak(getattr(soak, work)(config), times, SAMPLES)
    assert len(used) == SAMPLES
    files = [u.files for u in used]
    assert max(files[SAMPLES // 4 :]) <= files[SAMPLES // 4]


def test_a_leak_of_memory_and_of_files_shows() -> None:
    held = []

    def leaking() -> Iterator[None]:
        while True:
            file = Path(__file__).open()  # noqa: SIM115
            held.append((np.ones(10**6), file))
            yield

    used = soak.soak(leaking(), SAMPLES, SAMPLES)
    for _, file in held:
        file.close()
    assert used[-1].files - used[0].files == SAMPLES - 1
    assert soak.growth([u.resident for u in used]) > 1
    assert soak.growth([100] * 75 + [101] * 25) == pytest.approx(1)


def test_too_little_work_to_sample_is_refused() -> None:
    with pytest.raises(InputError, match="queries=9 must be at least 40"):
        soak.Config(queries=9)
