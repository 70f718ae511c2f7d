"""Readers: files of the user's to a `ClassDataset`."""
