"""``metaal export``: labels in the forms that people, models and other tools take."""
