"""Regions of an image, texts that refer to them by number, and errors; imports nothing of ours."""
