"""Networks that nobody tuned for, in plain torch with random weights."""
