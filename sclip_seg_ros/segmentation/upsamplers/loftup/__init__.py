"""LoftUp (ICCV 2025): the network, its weights, and what features they expect."""
