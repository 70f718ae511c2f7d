"""A user's items: reading files and turning items into vectors."""
