"""From cosine scores to labels and confidence: compiled, as a Triton kernel, or in plain torch."""
