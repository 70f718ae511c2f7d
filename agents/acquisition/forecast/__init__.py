"""Forecasts of labelling sessions, made before the labels."""
