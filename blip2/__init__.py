"""BLIP-2 on transformers (`model`), and training utilities that depend on no model (`training`)."""
