"""Rules and fitted strategies beside each other."""
