"""Training of LoftUp: targets from masks, self-distillation, data, engine, checkpoints."""
