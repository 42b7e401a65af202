"""Error rates of the verdicts, measured on simulated studies of a design."""
