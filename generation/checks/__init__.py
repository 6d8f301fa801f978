"""Validation of model output before it is stored."""
