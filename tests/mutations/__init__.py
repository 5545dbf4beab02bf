"""Tables of changes to fastconv's source that break a promise: a test must turn red at each."""
