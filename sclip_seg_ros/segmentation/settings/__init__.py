"""How images become labels: every setting, its range, its spellings."""
