"""`MetaALQuery` in scikit-activeml, and the code of the guide."""

from __future__ import annotations

import importlib.util
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.paths import ROOT
from helpers.queries import N, data
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression

from agents.acquisition import MetaALQuery, encode, query, read_items
from agents.acquisition.tool.answers import RANDOM
from agents.acquisition.tool.choice import Choice, choose_items
from agents.acquisition.tool.commands import main
from agents.acquisition.tool.session import Session


def test_estimator_clones_pickles_and_runs_in_scikit_activeml() -> None:
    x, y, _ = data()
    strategy = MetaALQuery(policy="uherding", random_state=3)
    assert clone(strategy).get_params()["policy"] == "uherding"
    assert (
        pickle.loads(pickle.dumps(strategy)).query(x, y)
        == strategy.query(x, y)
        == query(x, y, policy="uherding")
    )
    wrappers = pytest.importorskip("skactiveml.pool")
    from skactiveml.base import SingleAnnotatorPoolQueryStrategy
    from skactiveml.classifier import SklearnClassifier

    assert isinstance(strategy, SingleAnnotatorPoolQueryStrategy)
    wrapped = wrappers.SubSamplingWrapper(strategy, max_candidates=10, random_state=0)
    assert np.isnan(y[wrapped.query(x, y)[0]])
    from skactiveml.pool.multiannotator import SingleAnnotatorWrapper

    two = np.column_stack([y, np.where(np.arange(N) < 3, y, np.nan)])
    pairs = SingleAnnotatorWrapper(strategy, random_state=0).query(x, two, batch_size=2)
    assert np.isnan(two[pairs[:, 0], pairs[:, 1]]).all()
    clf = SklearnClassifier(LogisticRegression(), classes=[0, 1, 2], random_state=0)
    margin = wrappers.UncertaintySampling(method="margin_sampling").query(x, y, clf, return_utilities=True)[1]
    ours = MetaALQuery("margin").query(x, y, clf, return_utilities=True)[1]
    np.testing.assert_allclose(ours[0, 8:], margin[0, 8:], atol=1e-5)
    empty = np.full(N, np.nan)
    assert len(MetaALQuery("margin").query(x, empty, clf, batch_size=2)) == 2


def label_wines() -> None:
    """Does what the page of the guide's hour does: 20 labels drawn at random, and 30 chosen ones."""
    truth = load_wine().target
    session = Session.open(Path("wine.csv.labels.csv"), read_items(Path("wine.csv")))
    x = encode(session.items)
    for i in session.next_of_yardstick(20):
        session.set(i, ("barolo", "grignolino", "barbera")[truth[i]], RANDOM)
    for _ in range(10):
        for i in choose_items(session, x, Choice(), 3).picks.tolist():
            session.set(i, ("barolo", "grignolino", "barbera")[truth[i]])
    session.save()


def test_code_of_the_guide_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    guide = (ROOT / "docs" / "own_pool.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", guide, re.S)
    assert len(blocks) == 12
    exports = re.findall(r"^metaal (export wine\.csv .*?)(?:  #.*)?$", guide, re.M)
    assert len(exports) == 2
    optional = {
        "agents.acquisition import MetaALQuery": "skactiveml",
        "small_text": "small_text",
        "LabelWidget": "anywidget",
    }
    for words, package in optional.items():
        if importlib.util.find_spec(package) is None:
            blocks = [block for block in blocks if words not in block]
    found = importlib.util.find_spec("datasets")
    installed = found is not None and found.origin is not None  # tests/datasets is a folder of that name
    namespace: dict[str, Any] = {}
    for block in blocks:
        if "training.csv" in block:
            label_wines()
            for command in exports if installed else exports[:1]:
                assert main(command.split()) == 0
        exec(block, namespace)
    assert namespace["accuracy"] > 0.6 and len(namespace["training"]) == 50
    known = namespace["known"]
    assert known.sum() == 15 and namespace["rows"].max() < (~known).sum()
    if "learner" in namespace:
        assert len(namespace["learner"].indices_labeled) == 20
    assert {path.name for path in tmp_path.glob("*.png")} == {"why.png", "report.png"}
