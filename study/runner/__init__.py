"""Launches: prepare, run the stages, stop, resume, sync."""
