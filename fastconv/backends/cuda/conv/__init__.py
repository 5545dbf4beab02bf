"""Convolutions on the card."""
