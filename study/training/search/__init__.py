"""Searches of training numbers inside a trial."""
