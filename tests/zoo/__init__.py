"""Networks that fastconv was not tuned for, in plain torch with random weights."""
