"""Inner learners beside each other."""
