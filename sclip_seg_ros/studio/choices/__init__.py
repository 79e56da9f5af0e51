"""What a person has chosen, its colours, and its ways into and out of texts."""
