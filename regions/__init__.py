"""The shared language: regions of an image, and texts that point at them by number."""
