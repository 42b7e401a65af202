"""Data sources, one a file; the file name is the name in the study file."""
