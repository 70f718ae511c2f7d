"""Puts a trained policy into the package with its model card.

    python -m benchmarks.policy.release_policy --run runs/general --verdict results/general

The card is the policy's JSON: what it was trained on, the commands, what `general_verdict.py` measured, and limits.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from agents.policy.sb3_policy import LearnedStrategy
from agents.pretrained import SHIPPED
from agents.training.general.sources import IMAGE_LEARNER
from metaal_env.errors import InputError
from metaal_env.runtime.command_line import run_command
from metaal_env.runtime.files import write_atomic
from metaal_env.tasks import TaskConfig

LICENCES = {
    "glyphs": "characters of typefaces that come with Python packages, rendered by metaal (fonts: open licences)",
    "languages": "language names of Unicode CLDR (Unicode licence)",
    "omniglot": "background alphabets, Lake et al. 2015 (MIT)",
    "clinc150, banking77": "train splits; MiniLM-L6 sentence embeddings of the utterances (CC BY 3.0, CC BY 4.0)",
    "pmlb": "tables of the Penn Machine Learning Benchmarks (MIT)",
    "synthetic": "spaces drawn by metaal: mixtures of Student-t clusters under random maps",
}
HELD_BACK = (
    "unseen glyph scripts, Omniglot's evaluation alphabets, the test splits of languages and intents, all UCI sets "
    "and every PMLB table of the same origin, and every fourth other PMLB table but five whose studies it has seen"
)

LIMITS = (
    "Wins are small, one or two points of accuracy; where the card's results show none, use the best rule named.",
    "Trained on pools of 30-300 items, 3-20 classes (2 in some tables), 5-80 labels, one label at a time.",
    "On own pools it wants a classifier: 1,000 new intents +.069 on scikit-activeml's MaxHerding, without one +.001; "
    "raw pixels of digits, which it has seen as a table (PMLB's optdigits), +.011 and +.021.",
    "On two-class tables that it has not seen, pools of unequal shares: .006 behind herding, .033 ahead of margin.",
    "BANKING77, trained on, has intents much like those of credit_cards, one of CLINC150's three test domains.",
    "Distances are Euclidean: scale columns of different units; embeddings that do not separate classes help nobody.",
    "The oracle was wrong in a sixth of the tasks, for 10 % of items; heavier noise was not seen.",
)


@dataclass
class Options:
    """What to release."""

    run: Path
    """Run folder of the policy."""
    verdict: Path
    """Folder of the results of general_verdict.py on the same policy."""
    learner: Path = Path(IMAGE_LEARNER) / "learner"
    """What it is played with where nobody names a learner: that of images."""
    name: str = "metaal-general"
    """Name under which it ships."""
    commands: tuple[str, ...] = (
        "metaal train",
        "metaal train --recipe general --data DATA",
        "python -m benchmarks.policy.general_verdict --data DATA --policies agents/pretrained/metaal-general "
        "--n-tasks 400 200 100 --oracle-tasks 16",
    )
    """Commands that made and judged it; they stand in the card."""


def main(options: Options) -> None:
    summary = json.loads((options.run / "policy.json").read_bytes())["summary"]
    results = options.verdict / "verdict.json"
    if not results.is_file():
        raise InputError(
            f"verdict={str(options.verdict)!r} holds no verdict.json; run general_verdict.py first."
        )
    card = {
        "name": options.name,
        "chosen": summary,
        "commands": list(options.commands),
        "training_data": LICENCES,
        "held_back": HELD_BACK,
        "limits": list(LIMITS),
        "results": json.loads(results.read_bytes()),
    }
    folder = SHIPPED / options.name
    LearnedStrategy.load(options.run).save(folder / "policy", card)
    # What evaluation plays with this policy when nothing else is asked for.
    write_atomic(
        folder / "config.json",
        json.dumps({"dataset": "glyphs", "task": asdict(TaskConfig())}, indent=2).encode(),
    )
    for suffix in (".json", ".safetensors"):
        write_atomic(folder / f"learner{suffix}", options.learner.with_suffix(suffix).read_bytes())
    print(f"released: {folder}")


if __name__ == "__main__":
    sys.exit(run_command(Options, main, __doc__))
