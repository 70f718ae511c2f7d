"""A metaal policy as a query strategy of small-text."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import issparse

from agents.acquisition.classifier import RowClassifier
from agents.acquisition.items.encoders import EncoderName, encode
from agents.acquisition.items.read_items import Items
from agents.acquisition.items.text_encoders import SVD_DIMENSIONS
from agents.acquisition.policies import PolicySpec
from agents.acquisition.query import query
from metaal_env.datasets.prepare import svd_vectors
from metaal_env.errors import InputError, InputTypeError

try:
    from small_text.query_strategies import QueryStrategy
except ImportError as error:
    raise InputError("SmallTextQuery needs small-text: pip install small-text.") from error


class SmallTextQuery(QueryStrategy):
    """Chooses among a small-text data set by a metaal policy, guided by small-text's own classifier.

    Items become vectors by `embeddings` if given, else by the classifier's ``embed``, else from what the data
    set holds: a dense matrix as it is, a sparse one by SVD, texts by `encoder`. One label per item; classes are
    the integers that small-text uses.

    Args:
        policy: see `agents.acquisition.load_policy`.
        embeddings: (N, D) vectors of the whole data set.
        encoder: for texts; see `encoders.encode`.
        budget: labels that will be bought in all.
    """

    def __init__(
        self,
        policy: PolicySpec = None,
        embeddings: np.ndarray | None = None,
        encoder: EncoderName = "auto",
        budget: int | None = None,
        random_state: int | None = None,
    ):
        self.policy, self.embeddings, self.encoder = policy, embeddings, encoder
        self.budget, self.random_state = budget, random_state
        self._known: tuple[Any, np.ndarray] | None = None  # data set and its vectors

    def query(
        self,
        clf: Any,
        dataset: Any,
        indices_unlabeled: np.ndarray,
        indices_labeled: np.ndarray,
        y: np.ndarray,
        n: int = 10,
    ) -> np.ndarray:
        """(n,) positions in `dataset`, the most useful first; arguments as small-text passes them.

        Raises:
            InputTypeError: several labels per item, or a data set without vectors.
            small_text.EmptyPoolException, small_text.PoolExhaustedException: fewer than `n` unlabelled items.
        """
        self._validate_query_input(indices_unlabeled, n)
        if issparse(y):
            raise InputTypeError("y holds several labels per item; metaal chooses for one label per item.")
        x = self._vectors(clf, dataset)
        labels = np.full(len(x), None, dtype=object)
        labels[indices_labeled] = y
        model = None
        # A representation in place of the data set is nothing that the classifier could read.
        if clf is not None and not isinstance(dataset, np.ndarray):
            model = RowClassifier(
                lambda rows: clf.predict_proba(dataset[rows]), _classes(clf), type(clf).__name__
            )
        picks = query(
            x,
            labels,
            clf=model,
            fit_clf=False,
            candidates=indices_unlabeled,
            batch_size=n,
            policy=self.policy,
            budget=self.budget,
            random_state=self.random_state,
            missing_label=None,
        )
        return np.asarray(picks)

    def _vectors(self, clf: Any, dataset: Any) -> np.ndarray:
        if self.embeddings is not None:
            if len(self.embeddings) != len(dataset):
                raise InputError(f"embeddings has {len(self.embeddings)} rows for {len(dataset)} items.")
            return self.embeddings
        if isinstance(dataset, np.ndarray):
            return dataset
        if hasattr(clf, "embed"):
            return np.asarray(clf.embed(dataset))  # anew each time: it learns
        if self._known is None or self._known[0] is not dataset:
            self._known = dataset, self._encoded(dataset.x)
        return self._known[1]

    def _encoded(self, x: Any) -> np.ndarray:
        if isinstance(x, np.ndarray) and x.ndim == 2:
            return x
        if issparse(x):
            return svd_vectors(x, SVD_DIMENSIONS)
        texts = list(x)
        if not all(isinstance(text, str) for text in texts):
            raise InputTypeError("the data set holds neither texts nor vectors; give embeddings.")
        ids = [str(i) for i in range(len(texts))]
        return encode(Items("data set", ids, [None] * len(texts), texts, texts=texts), self.encoder)

    def __str__(self) -> str:
        return f"SmallTextQuery(policy={self.policy!r})"


def _classes(clf: Any) -> np.ndarray:
    """Returns what the columns of ``predict_proba`` stand for: scikit-learn's models leave out unseen classes."""
    model = getattr(clf, "model", None)
    return getattr(model, "classes_", np.arange(clf.num_classes))
