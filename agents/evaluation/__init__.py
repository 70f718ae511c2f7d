"""Evaluation: paired tasks, curves, intervals and verdicts.

`play` runs one strategy on seeded tasks and returns `Episodes`; `verdict` compares them. The command line
`metaal evaluate` adds a declarative `Protocol`, resumable cells, figures and a report.
"""

from agents.evaluation.episodes import Episodes, concatenate
from agents.evaluation.measures import MEASURES
from agents.evaluation.paired import Paired, pair
from agents.evaluation.play import play
from agents.evaluation.report.tables import verdict

__all__ = ["MEASURES", "Episodes", "Paired", "concatenate", "pair", "play", "verdict"]
