"""What is evaluated, declared as data and played cell by cell."""
