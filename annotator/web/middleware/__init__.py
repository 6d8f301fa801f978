"""Middleware around every route: headers of responses, sizes and texts of requests."""
