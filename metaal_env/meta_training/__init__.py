"""Meta-training of inner learners on the supports that acquisition produces."""
