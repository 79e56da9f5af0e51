"""Programs beside a running node: what it does, whether the computer is fit, the studio."""
