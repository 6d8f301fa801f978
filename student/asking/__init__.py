"""Inference: one question, a file of questions, and calibrated confidence."""
