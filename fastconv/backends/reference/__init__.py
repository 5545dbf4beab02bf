"""NumPy in float64: slow, short, obviously right; what every other kernel is tested against."""
