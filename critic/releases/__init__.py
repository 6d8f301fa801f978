"""Releases: frozen selections of triples by a critic's scores; certified thresholds."""
