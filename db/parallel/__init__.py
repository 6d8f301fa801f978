"""Work done ahead in threads, or on a Ray cluster."""
