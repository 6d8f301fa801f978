"""Texts about images and regions: describers, one per file, and runs that store their texts."""
