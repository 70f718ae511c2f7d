"""Figures and reports of why items are chosen."""
