"""Plans of convolutions."""
