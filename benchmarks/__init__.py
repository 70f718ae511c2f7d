"""Scripts that measure: ``python -m benchmarks.ROOM.NAME --help``; see README.md."""
