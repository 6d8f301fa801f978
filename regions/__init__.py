"""The shared language: regions of an image and the texts that point at them. Imports nothing of ours."""
