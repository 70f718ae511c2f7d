"""Imitation of one-step look-ahead."""
