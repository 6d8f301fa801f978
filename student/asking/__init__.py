"""Inference: one question, a file of questions, streamed answers, confidence."""
