"""Zero-shot benchmarks of the paper, POPE, and held-out triples: official files and metrics."""
