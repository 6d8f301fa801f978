"""The critic: learns from votes which triples people would accept, and keeps those."""
