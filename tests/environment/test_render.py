"""Pictures of pools: images in place of points, the picks numbered, a colour for each class."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from helpers.environments import options_of
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

import metaal_env  # noqa: F401 (registers the environments)
from metaal_env.render import draw_pool
from metaal_env.thumbnails import ink, moved_apart

TASK = {"way": 4, "pool_size": 24, "budget": 6, "reward_per_class": 4, "test_per_class": 4}


def test_the_pool_of_images_shows_every_item_once_and_numbers_the_picks_in_order() -> None:
    env = gym.make("MetaAL-Omniglot-v0", render_mode="rgb_array", **options_of("MetaAL-Omniglot-v0") | TASK)
    env.reset(seed=0)
    for item in (5, 17, 2):
        env.step(item)
    batch, axes = env.unwrapped.batch, Figure().add_subplot()
    draw_pool(axes, env.unwrapped.view(), images=batch.core.pool_images(batch.state))
    assert len(axes.images) == 24
    labels = env.unwrapped.view().labels[0]
    numbered = {text.get_text(): text.get_bbox_patch().get_facecolor() for text in axes.texts}
    assert numbered == {n: to_rgba(f"C{labels[item]}") for n, item in (("1", 5), ("2", 17), ("3", 2))}
    assert {patch.get_edgecolor() for patch in axes.patches} == set(numbered.values())
    assert env.render().shape == (400, 400, 3)


def test_the_pool_of_vectors_shows_points() -> None:
    env = gym.make("MetaAL-Iris-v0", render_mode="rgb_array")
    env.reset(seed=0)
    env.step(3)
    batch, axes = env.unwrapped.batch, Figure().add_subplot()
    assert batch.core.pool_images(batch.state) is None
    draw_pool(axes, env.unwrapped.view())
    assert not axes.images and [text.get_text() for text in axes.texts] == ["1"]


@pytest.mark.parametrize("n", [1, 2, 60])
def test_images_hardly_hide_each_other_and_stay_in_the_picture(n: int) -> None:
    rng = np.random.default_rng(0)
    sides = np.full(n, 0.8 / n**0.5)
    places = moved_apart(rng.normal(size=(n, 2)) ** 3, sides)
    assert places.min() >= 0 and places.max() <= 1
    apart = np.abs(places[:, None] - places[None])
    hidden = (sides[0] - apart).clip(0).prod(-1) / sides[0] ** 2
    np.fill_diagonal(hidden, 0)
    assert hidden.max(initial=0) < 0.5


def test_most_equal_points_part() -> None:
    places = moved_apart(np.zeros((9, 2)), np.full(9, 0.2))
    assert len(np.unique(places.round(2), axis=0)) > 5 and places.min() >= 0 and places.max() <= 1


def test_points_with_room_around_them_stay_where_they_are() -> None:
    points = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.5, 0.25]])
    assert np.allclose(moved_apart(points, np.full(5, 0.2)), points, atol=1e-3)


@pytest.mark.parametrize("ground", [0, 255])
def test_grey_images_become_black_ink_and_coloured_ones_stay(ground: int) -> None:
    grey = torch.full((1, 6, 6), ground, dtype=torch.uint8)
    grey[0, 2, 3] = 255 - ground
    drawn = ink(grey)
    assert (drawn[..., :3] == 0).all() and drawn[2, 3, 3] == 255 and drawn[..., 3].sum() == 255
    coloured = torch.randint(256, (3, 6, 6), dtype=torch.uint8)
    assert (ink(coloured)[..., :3] == coloured.permute(1, 2, 0).numpy()).all()
    assert (ink(coloured)[..., 3] == 255).all()
