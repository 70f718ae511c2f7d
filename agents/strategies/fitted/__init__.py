"""Strategies that must be fitted on training tasks before they work."""
