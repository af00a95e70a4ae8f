"""What failures have in common: the smallest of them, the causes that they have, and a report of each."""
