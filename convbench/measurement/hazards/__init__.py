"""What makes a measurement less trustworthy: one catalogue, with a remedy for each."""
