"""Training of residual attention networks."""
