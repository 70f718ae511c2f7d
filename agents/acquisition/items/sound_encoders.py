"""Sounds to vectors: mean and spread over time of their log-mel spectrum."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metaal_env.datasets.readers.folder_files import read_each, unreadable_files
from metaal_env.errors import InputError, brief

BANDS = 64
WINDOW, HOP = 0.025, 0.010  # seconds
LOWEST, HIGHEST = 50.0, 8000.0  # Hz
MAX_SECONDS = 120
"""Beginning of a sound that is read."""
FLOOR = 1e-8


def logmel(sounds: Sequence[Path]) -> np.ndarray:
    """Returns (N, 2·`BANDS`) vectors: mean and standard deviation over time of each band, both standardised.

    Raises:
        InputError: after the last sound, naming those that cannot be read.
    """
    x = np.stack(list(read_each(sounds, _row, "sound", "reading sounds")))
    return np.asarray((x - x.mean(0)) / np.maximum(x.std(0), 1e-6), dtype=np.float32)


def unreadable_sounds(sounds: Sequence[Path], subject: str) -> dict[Path, str]:
    """Decodes every sound and returns those that cannot be read, with the reason, which begins with `subject`."""
    return unreadable_files(sounds, lambda path: _wave(path, subject), "sound")


def _wave(path: Path, subject: str = "data") -> tuple[np.ndarray, int]:
    """Samples of a sound, its channels averaged, and how many of them make a second."""
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            wave = file.read(MAX_SECONDS * rate, dtype="float32", always_2d=True).mean(1)
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"{subject}: {str(path)!r} is not a readable sound ({brief(error)}); replace or delete it, or add "
            "--skip-unreadable."
        ) from error
    return wave, rate


def _row(path: Path) -> np.ndarray:
    wave, rate = _wave(path)
    spectrum = _log_mel(np.nan_to_num(wave), rate)
    return np.r_[spectrum.mean(1), spectrum.std(1)]


def _log_mel(wave: np.ndarray, rate: int) -> np.ndarray:
    """(bands, frames) logarithm of the power in bands that are triangular on the mel scale."""
    from scipy.signal import ShortTimeFFT, get_window

    size, hop = max(16, round(WINDOW * rate)), max(1, round(HOP * rate))
    wave = np.pad(wave, (0, max(0, 2 * size - len(wave))))
    transform: Any = ShortTimeFFT(get_window("hann", size), hop, rate, scale_to="magnitude")
    power = np.square(np.abs(transform.stft(wave)))
    return np.asarray(np.log(np.maximum(_filters(transform.f) @ power, FLOOR)))


def _filters(frequencies: np.ndarray) -> np.ndarray:
    """(bands, frequencies) triangles, on the scale of O'Shaughnessy (1987): 2595 log10(1 + f / 700)."""
    low, high = (2595 * np.log10(1 + f / 700) for f in (LOWEST, min(HIGHEST, float(frequencies[-1]))))
    edges = 700 * (10 ** (np.linspace(low, high, BANDS + 2) / 2595) - 1)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (frequencies - left) / (centre - left), (right - frequencies) / (right - centre)
    return np.maximum(0, np.minimum(rising, falling))
