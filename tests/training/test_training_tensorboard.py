"""What TensorBoard shows of a training run: honest x-axes, one chart for rules and policy, a card of words."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.evaluation_stubs import core
from stable_baselines3.common.logger import configure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents.training.imitation.imitate import ImitationConfig
from agents.training.ppo.train import PPOConfig, train_ppo
from agents.training.run_card import write_run_card
from agents.training.task_mixture import TaskMixture

CONFIG = PPOConfig(
    iterations=3,
    n_envs=4,
    shapes_per_rollout=1,
    paired=2,
    batch_size=8,
    epochs=1,
    width=8,
    validate_every=2,
    validation_tasks=2,
)
BASELINES = {"random": 0.25, "margin": 0.375, "greedy_lookahead": 0.75}
LABELS = 5 * CONFIG.n_envs
"""Labels bought in one iteration: budget times environments."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run with imitation and PPO, started twice over the same folder as after an interruption."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    for _ in range(2):
        write_run_card(folder, {"dataset": "clusters", "learner": "prototype", "ppo": {"iterations": 3}})
        c = core()
        logger = configure(str(folder / "tensorboard"), ["tensorboard"])
        imitation = ImitationConfig(iterations=2, rounds=1, n_envs=4, shapes_per_rollout=1, epochs=1)
        train_ppo(TaskMixture([[c]], n_envs=4, paired=2), [[c]], CONFIG, BASELINES, folder, logger, imitation)
        logger.close()
    return folder / "tensorboard"


def events(folder: Path) -> EventAccumulator:
    """Everything in one TensorBoard run."""
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return accumulator


def in_order(folder: Path) -> list[Path]:
    """The event files of a folder as they were opened: their names end in the process's count of writers."""
    files = folder.glob("events.out.tfevents.*")
    return sorted(files, key=lambda file: (file.name.split(".")[3], int(file.suffix[1:])))


def test_rules_and_policy_share_one_chart(run: Path) -> None:
    for name, value in BASELINES.items():
        assert {p.value for p in events(run / name).Scalars("validation/aulc")} == {value}
    # Validated before the first roll-out, after the second and after the last: at the labels bought by then.
    for name in ("policy", *BASELINES):
        steps = [p.step for p in events(run / name).Scalars("validation/aulc")]
        assert list(dict.fromkeys(steps)) == [0, 2 * LABELS, 3 * LABELS], name


def test_no_line_runs_back_to_the_origin(run: Path) -> None:
    whole = events(run)
    tags = whole.Tags()["scalars"]
    assert {"validation/share_of_gap_closed", "rollout/aulc", "train/loss", "policy/entropy"} <= {*tags}
    for tag in tags:
        steps = [point.step for point in whole.Scalars(tag)]
        assert steps == sorted(steps), tag
        if tag.startswith(("rollout", "train", "policy")):
            assert steps == [LABELS, 2 * LABELS, 3 * LABELS], tag


def test_charts_grow_while_training(run: Path) -> None:
    """TensorBoard follows the newest file of a folder alone: PPO's, with nothing written beside it."""
    card, first, second = in_order(run)
    assert "rollout/aulc" in events(first).Tags()["scalars"]
    assert events(card).Tags()["scalars"] == [] and events(second).Tags()["tensors"] == []


def test_groups_name_their_axis_and_the_card_explains_every_group(run: Path) -> None:
    whole = events(run)
    tensor = whole.Tensors("about/text_summary")
    assert len(tensor) == 1
    card = tensor[0].tensor_proto.string_val[0].decode()
    assert "**tiny**" in card and "`clusters`" in card and '"iterations": 3' in card
    imitation = events(run / "imitation").Tags()["scalars"]
    assert imitation == ["imitation_by_rollout/expected_gain"]
    groups = {tag.partition("/")[0] for tag in (*whole.Tags()["scalars"], *imitation)}
    assert all(f" {group}/" in card for group in groups)
