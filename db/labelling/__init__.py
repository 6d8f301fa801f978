"""Batches of triples to label, and labels from votes."""
