"""Figures of a report, one a file; each can be read in grey, and says what it shows."""
