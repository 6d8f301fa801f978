"""Describers of images, one a file, behind one protocol; what they write goes into the store."""
