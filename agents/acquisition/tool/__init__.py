"""The command line for people who label."""
