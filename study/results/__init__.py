"""What trials leave: results, the ledger, summaries."""
