"""Fair hyperparameter search: the same budget and space for each arm, chosen inside each fold."""
