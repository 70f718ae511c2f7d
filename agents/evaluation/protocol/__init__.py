"""Evaluations declared as data and played cell by cell."""
