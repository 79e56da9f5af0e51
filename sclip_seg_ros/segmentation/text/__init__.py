"""Words to embeddings: templates, encoder, vocabulary and its colours."""
