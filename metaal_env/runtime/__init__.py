"""Files, locks, artifacts, checkpoints and interrupts: how work is kept on disk."""
