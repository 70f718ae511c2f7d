"""Training of acquisition policies, from tasks to the verdict."""
