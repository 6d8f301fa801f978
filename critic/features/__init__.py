"""What critics read: examples from the store, drawn views, n-grams, grounding features."""
