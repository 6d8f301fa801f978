"""Parallel work: threads that prefetch, and Ray workers."""
