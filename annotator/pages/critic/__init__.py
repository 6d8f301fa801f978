"""The critic page."""
