"""Adapters for scikit-activeml, modAL, small-text and Label Studio."""
