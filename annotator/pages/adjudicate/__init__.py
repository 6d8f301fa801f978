"""The adjudicate page."""
