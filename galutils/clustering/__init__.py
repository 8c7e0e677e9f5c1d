"""From embeddings to classes without labels, and what chance would get."""
