"""Sources: data sets with a registered name."""
