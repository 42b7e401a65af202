"""Launches of a study: prepare, run the stages, stop, resume, sync."""
