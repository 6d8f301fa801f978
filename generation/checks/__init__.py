"""Checks of what a model wrote, before it is stored."""
