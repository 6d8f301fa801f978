"""Describers, one a file, behind the protocol of `generation.verbalize.protocol`."""
