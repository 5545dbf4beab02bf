"""HOW: each backend a folder, each algorithm one file."""
