"""Verdicts over many settings: a policy against the best rule of each setting in hindsight."""
