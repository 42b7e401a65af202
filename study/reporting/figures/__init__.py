"""Figures of a report, one per module; each is readable in grayscale and has a text alternative."""
