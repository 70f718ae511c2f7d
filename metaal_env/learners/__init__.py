"""Inner learners: few-shot classifiers batched over episodes. `LEARNERS` maps names to constructors."""

from metaal_env.learners import finn as _finn  # noqa: F401  (registers, as the following)
from metaal_env.learners import linear as _linear  # noqa: F401
from metaal_env.learners import meta_lstm as _meta_lstm  # noqa: F401
from metaal_env.learners import metric as _metric  # noqa: F401
from metaal_env.learners import svm as _svm  # noqa: F401
from metaal_env.learners.base import LEARNERS, InnerLearner
from metaal_env.learners.maml import MAML
from metaal_env.learners.storage import build_learner, learner_fingerprint, load_learner, save_learner

__all__ = [
    "LEARNERS",
    "MAML",
    "InnerLearner",
    "build_learner",
    "learner_fingerprint",
    "load_learner",
    "save_learner",
]
