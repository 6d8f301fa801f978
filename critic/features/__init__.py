"""Inputs of critics: examples from the store, marked images, n-grams, grounding features."""
