"""Describers and text tasks, one per file."""
