"""Runs of a task over all images: requests, calls, journal, parsing, cost estimates, results."""
