"""Computes what a policy sees of a pool: item features and pool features, registered by name."""

# Imported for their registrations.
from metaal_env.features import item_features, item_scores, pool_features, rules, terms  # noqa: F401
from metaal_env.features.catalogue import (
    ITEM_FEATURES,
    ITEM_SCORES,
    POOL_FEATURES,
    item_feature,
    item_score,
    pool_feature,
)
from metaal_env.features.extract import Features, extract, standardised_scores
from metaal_env.features.names import FeatureNames

__all__ = [
    "ITEM_FEATURES",
    "ITEM_SCORES",
    "POOL_FEATURES",
    "FeatureNames",
    "Features",
    "extract",
    "item_feature",
    "item_score",
    "pool_feature",
    "standardised_scores",
]
