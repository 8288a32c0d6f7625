"""Export of residual attention networks to phones and servers."""
