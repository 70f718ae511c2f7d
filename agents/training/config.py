"""The settings of a training run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import tyro

from agents.training.imitation.imitate import ImitationConfig
from agents.training.ppo.config import PPOConfig
from metaal_env.meta_training.config import MetaTrainConfig
from metaal_env.runtime.command_line import as_value
from metaal_env.runtime.executor import WorkerOptions
from metaal_env.tasks import TaskConfig


@dataclass(frozen=True)
class TrainConfig:
    """One training run. Everything it makes lies in ``runs/<name>/``."""

    dataset: str = "glyphs"
    """Registered data set, or path of a npz or csv file or an image folder."""
    learner: str = "maml"
    """Inner learner: a registered name, or a run folder or file with a meta-trained one."""
    learner_options: dict[str, str] = field(default_factory=dict)
    """Options of the learner as pairs of name and value, e.g. depth last_block steps 3."""
    name: str | None = None
    """Folder under --out. By default it is named after data set, learner and seed."""
    out: Path = Path("runs")
    """Folder of all runs."""
    task: tyro.conf.OmitArgPrefixes[TaskConfig] = field(default_factory=TaskConfig)
    """What tasks look like."""
    extra_sources: tuple[str, ...] = ()
    """Extra training sources, as DATASET@LEARNER. Join data sets with + to treat them as one source."""
    random_task_shapes: bool = True
    """Train on task shapes drawn widely (classes, pool, budget, class shares, noise) instead of on the task options
    alone."""
    reward: str = "aulc"
    """Reward that the policy is trained for: the name of a function in metaal_env.rewards."""
    meta: MetaTrainConfig = field(default_factory=MetaTrainConfig)
    """Meta-training of the inner learner."""
    imitation: ImitationConfig = field(default_factory=ImitationConfig)
    """Training of the policy by look-ahead."""
    ppo: PPOConfig = field(default_factory=PPOConfig)
    """Training of the policy by whole episodes."""
    verdict_tasks: int = 256
    """Paired tasks of unseen classes on which the verdict is given."""
    spread: tyro.conf.OmitArgPrefixes[WorkerOptions] = field(default_factory=WorkerOptions)
    """Where roll-outs, fits and validation tasks are computed, and how many at a time; one at a time on a GPU."""
    device: str = "auto"
    """auto, cpu or cuda. auto takes the GPU if there is one."""

    @property
    def folder(self) -> Path:
        """Returns the folder of the run."""
        stem = Path(self.dataset).stem if self.dataset else "data"
        return self.out / (self.name or f"{stem}-{Path(self.learner).name}-{self.ppo.seed}")

    def read_learner_options(self) -> dict[str, object]:
        """Returns the learner's options, with numbers and booleans read as such."""
        return {name: as_value(text) for name, text in self.learner_options.items()}
