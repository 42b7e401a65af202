"""Data that trials read, by identity: data set, split, features, embeddings, study file."""
