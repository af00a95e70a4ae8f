"""What a person sees of a machine: what it can do at most, and how well it can measure."""
