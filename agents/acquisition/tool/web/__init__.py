"""`metaal label --web`: one local page for labelling, and the state behind it, which the notebook's widget shares."""
