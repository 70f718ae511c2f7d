"""Small pools of every kind that the labelling page shows, as people have them on disk."""

from __future__ import annotations

import csv
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np

MESSAGES = {
    "delivery": [
        "My parcel was promised for {} and is still not here.",
        "The courier left the box with a neighbour on {}; nobody told me.",
        "Tracking has said “out for delivery” since {}.",
    ],
    "refund": [
        "I returned the shoes on {} and still wait for my money.",
        "Please refund the second charge of {}.",
        "The refund of {} is missing the shipping costs.",
    ],
    "product": [
        "The zip broke on {}.",
        "The colour differs from the picture; I expected what I saw on {}.",
        "It does not fit, although I followed the size chart of {}.",
    ],
    "account": [
        "I cannot log in since {}; the mail for a new password never comes.",
        "Please delete my account by {}.",
        "My address changed on {}. Where do I enter the new one?",
    ],
}
DAYS = ["Monday", "Tuesday", "3 May", "12 June", "Friday", "the 21st", "Easter Sunday", "1 August"]
ENDS = [
    "Thank you.",
    "Please answer soon.",
    "My order is {}.",
    "I have been a customer since {}.\n\nKind regards,\nA. Moor",
]


def texts_pool(path: Path, n: int = 60) -> list[str]:
    """Writes customers' messages as a table; the true classes."""
    rng = np.random.default_rng(0)
    truth = [list(MESSAGES)[k] for k in rng.integers(4, size=n)]
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "message", "channel"])
        for i, name in enumerate(truth):
            text = str(rng.choice(MESSAGES[name])).format(rng.choice(DAYS))
            end = str(rng.choice(ENDS)).format(rng.integers(2004, 2026))
            rows.writerow([f"m{i:04d}", f"{text} {end}", rng.choice(["mail", "chat", "letter"])])
    return truth


def table_pool(path: Path, n: int = 60) -> list[str]:
    """Writes measurements of flowers with units and gaps; the true classes."""
    from sklearn.datasets import load_iris

    data = load_iris()
    order = np.random.default_rng(0).permutation(len(data.data))[:n]
    names = [name.replace(" (cm)", " in cm") for name in data.feature_names]
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["sample", *names, "soil"])
        for k, i in enumerate(order):
            cells = [f"{value:.1f}" for value in data.data[i]]
            if k % 9 == 4:
                cells[1] = ""
            rows.writerow([f"s{i:03d}", *cells, ["clay", "sand", "loam"][int(i) % 3]])
    return [str(data.target_names[data.target[i]]) for i in order]


def images_pool(path: Path, n: int = 60, size: int = 320) -> list[str]:
    """Writes parts of two photographs that scikit-learn brings along; which of the two each shows."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    path.mkdir()
    rng = np.random.default_rng(0)
    photographs = load_sample_images().images
    truth = []
    for i in range(n):
        kind = int(rng.integers(2))
        photograph = photographs[kind]
        top, left = (int(rng.integers(side - size)) for side in photograph.shape[:2])
        Image.fromarray(photograph[top : top + size, left : left + size]).save(path / f"part {i:03d}.jpg")
        truth.append(["temple", "flower"][kind])
    return truth


def sounds_pool(path: Path, n: int = 60) -> list[str]:
    """Writes tones, sweeps and noises of a second; which of them each is."""
    path.mkdir()
    rng = np.random.default_rng(0)
    t = np.arange(16_000) / 16_000
    truth = []
    for i in range(n):
        name = ["tone", "sweep", "noise"][int(rng.integers(3))]
        pitch = rng.uniform(200, 900)
        sound = {
            "tone": np.sin(2 * np.pi * pitch * t) * np.exp(-3 * t),
            "sweep": np.sin(2 * np.pi * pitch * (t + t**2)) * np.sin(np.pi * t),
            "noise": rng.normal(size=len(t)) * 0.3 * np.exp(-((t - rng.uniform(0.2, 0.8)) ** 2) / 0.02),
        }[name]
        with wave.open(str(path / f"{i:03d}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16_000)
            file.writeframes((np.clip(sound, -1, 1) * 30_000).astype("<i2").tobytes())
        truth.append(name)
    return truth


POOLS: dict[str, tuple[str, Callable[..., list[str]], str]] = {
    "texts": ("messages.csv", texts_pool, "delivery,refund,product,account"),
    "table": ("flowers.csv", table_pool, "setosa,versicolor,virginica"),
    "images": ("photographs", images_pool, "temple,flower"),
    "sounds": ("sounds", sounds_pool, "tone,sweep,noise"),
}
"""Kind → name on disk, its maker, and its classes as the command line takes them."""
