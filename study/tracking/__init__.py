"""Results of studies as experiments and runs of a tracking store (MLflow)."""
