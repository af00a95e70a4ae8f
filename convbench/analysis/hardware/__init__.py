"""Several machines: what a pass brings and costs on each, and how far they can be compared."""
