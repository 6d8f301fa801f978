"""The generate page."""
