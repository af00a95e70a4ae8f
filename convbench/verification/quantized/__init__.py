"""The truth about quantised convolutions: their data, the exact sums, and the integers that are right."""
