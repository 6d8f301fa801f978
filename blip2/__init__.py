"""The model that critic and student share: BLIP-2, on transformers."""
