"""Devices, memory, model loading, processes and the training loop, independent of any model.

Critics and students of every kind train with it; generation chooses devices and loads models.
"""
