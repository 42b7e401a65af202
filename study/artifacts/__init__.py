"""What trials read, by identity: the data of a study, its folder, embeddings."""
