"""Backups of a store, and their rotation."""
