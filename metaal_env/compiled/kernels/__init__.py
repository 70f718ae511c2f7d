"""Loops that numba compiles: one module per task, all of them on top of `arithmetic`.

Rules that keep them vectorised:

- Items are the last axis of every array.
- Loops are short. One that writes to several of many arrays would have to check too often whether they overlap.
- Both numbers that an element is chosen from are read before the choice. The compiler reads none that may not be
  needed, and would keep a branch.
- An index ``begin + e`` keeps a check for negative numbers: take a view first.
- Sums may be taken in any order; infinities and NaN keep their meaning.
- `F` marks numbers that must not turn a loop over float32 into one over doubles.
"""
