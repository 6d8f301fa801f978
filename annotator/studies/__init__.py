"""Crowd studies: links, signatures, joining, workers' attention, and what they are paid."""
