"""What a person sees of a choice."""
