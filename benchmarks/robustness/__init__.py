"""Kills and long runs."""
