"""fastconv against its peers, its past and itself; see README.md."""
