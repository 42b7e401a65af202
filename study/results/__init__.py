"""Results of trials, the ledger that stores them, and their summaries."""
