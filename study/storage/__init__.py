"""Folders and object stores: atomic writes, checksums, locks, local mirrors."""
