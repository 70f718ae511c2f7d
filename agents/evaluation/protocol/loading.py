"""Loads data, learners and trained runs for evaluation, with the fingerprints of each."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch

from agents.evaluation.protocol.scenario import task_config
from agents.loading import runs_code
from agents.pretrained import shipped_policies
from agents.strategies.fitted.base import FILE as FITTED_FILE
from agents.strategies.fitted.base import is_fitted
from metaal_env.datasets import data_fingerprint, load_dataset
from metaal_env.datasets.base import ClassDataset, Split
from metaal_env.errors import InputError
from metaal_env.learners import InnerLearner, learner_fingerprint, load_learner
from metaal_env.runtime.artifacts import artifact_stem
from metaal_env.runtime.files import read_json
from metaal_env.tasks import TaskConfig

DEFAULT_DATASET = "glyphs"
DEFAULT_LEARNER = "prototype"


def load_split(dataset: str, split: str) -> ClassDataset:
    """Returns one split of a data set, by name or path."""
    return load_dataset(dataset).split(cast(Split, split))


def load_parts(dataset: str, split: str, learner: str) -> tuple[ClassDataset, InnerLearner]:
    """Loads the data and the learner of a scenario. Raises: `InputError` when they do not fit each other."""
    data = load_split(dataset, split)
    torch.manual_seed(0)  # a learner given by name alone starts from the same weights everywhere
    return data, load_learner(learner, data.input_shape)


def learner_digest(spec: str, learner: InnerLearner) -> str:
    """Returns the fingerprint of a saved learner, else of the weights that one given by name has drawn."""
    if (saved := learner_fingerprint(spec)) != spec:
        return saved
    digest = hashlib.sha256(type(learner).__name__.encode())
    for name, value in sorted(learner.state_dict().items()):
        digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def strategy_digest(spec: str) -> str:
    """Computes a fingerprint of the files behind a strategy; empty for a registered name."""
    file, _, name = spec.rpartition(":")
    if file.endswith(".py") and Path(file).is_file():
        return hashlib.sha256(Path(file).read_bytes() + name.encode()).hexdigest()[:16]
    stem = Path(spec) / FITTED_FILE if is_fitted(spec) else artifact_stem(spec, "policy")
    files = [stem.with_name(stem.name + suffix) for suffix in (".safetensors", ".json")]
    if not all(f.is_file() for f in files):
        return ""
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()[:16]


@dataclass(frozen=True)
class Run:
    """A trained policy with what it was trained on.

    Attributes:
        folder: of the run.
        policy: path that loads the policy.
        dataset: it was trained on.
        learner: saved weights, or a registered name.
        task: what its tasks looked like.
        data: fingerprint of the data set; empty where the run's record has none.
        reason: why it is judged.
    """

    folder: Path
    policy: str
    dataset: str
    learner: str
    task: TaskConfig
    data: str = ""
    reason: str = ""

    def was_trained_on(self, dataset: str) -> bool:
        """Returns whether that is the run's data set: by content, or by name where none was recorded."""
        if not self.data:
            return dataset == self.dataset
        try:
            return data_fingerprint(dataset) == self.data
        except InputError:  # too few classes to be split as the run's are
            return False


def newest_run(root: Path = Path("runs"), shipped: Mapping[str, Path] | None = None) -> Run:
    """Returns the run whose policy was written last, else the first policy shipped with the package.

    Raises:
        InputError: there is neither.
    """
    finished = sorted(root.glob("*/policy.json"), key=lambda file: file.stat().st_mtime)
    if finished:
        of = f"the newest of {len(finished)} runs" if len(finished) > 1 else "the only run"
        return replace(
            read_run(finished[-1].parent), reason=f"{of} under {root}/; choose another with --policy"
        )
    if shipped is None:
        shipped = shipped_policies()
    if not shipped:
        raise InputError(
            f"policy: no finished run under {str(root)!r} and none shipped; "
            "run `metaal train` first, or name rules with --strategies."
        )
    return replace(
        read_run(next(iter(shipped.values()))),
        reason=f"which ships with the package, as {root}/ holds no finished run; train_policy.py makes one",
    )


def read_run(spec: str | Path) -> Run:
    """Returns the run that a policy belongs to; what its folder does not say takes the defaults.

    Args:
        spec: run folder, file of a policy, or name of a shipped policy.

    Raises:
        InputError: there is no policy at `spec`, or its config.json is damaged, or its name would run code.
    """
    stem = artifact_stem(spec, "policy")
    if not stem.with_name(stem.name + ".json").is_file():
        shipped = shipped_policies()
        if str(spec) not in shipped:
            raise InputError(
                f"policy={str(spec)!r} does not exist; give a folder under runs/ with a trained policy, or one of "
                f"the shipped ones: {', '.join(shipped) or 'none'}."
            )
        return read_run(shipped[str(spec)])
    folder = stem.parent
    config = folder / "config.json"
    if config.is_file():
        raw = read_json(config, f"config={str(config)!r}")
        try:
            dataset = str(raw.get("dataset", DEFAULT_DATASET))
            prints = raw.get("fingerprints")
            data = str(prints.get("dataset", "")) if isinstance(prints, dict) else ""
            task = task_config(raw["task"] if isinstance(raw.get("task"), dict) else raw)
        except InputError:
            raise
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(f"config={str(config)!r} is damaged ({error}); train again.") from error
    else:
        dataset, task, data = DEFAULT_DATASET, TaskConfig(), ""
    own = (folder / "learner.json").is_file()
    spec_text = str(folder) if stem.name == "policy" else f"{stem}.json"
    if runs_code(spec_text):
        raise InputError(f"policy={str(spec)!r} looks like a Python file and a class; rename the folder.")
    learner = str(folder / "learner") if own else DEFAULT_LEARNER
    return Run(folder, spec_text, dataset, learner, task, data, reason=f"asked for as {spec}")


def learner_fits(learner: str, data: ClassDataset) -> bool:
    """Returns whether a saved learner was made for inputs of this shape; damaged files raise `InputError`."""
    card = Path(learner).with_name(Path(learner).name + ".json")
    if not card.is_file():
        return True  # a registered name adapts to any shape
    try:
        return bool(
            read_json(card, f"learner={learner!r}")["config"]["input_shape"] == list(data.input_shape)
        )
    except (KeyError, TypeError) as error:
        raise InputError(f"learner={learner!r} is damaged ({error!r}); train it again.") from error
