"""What a person sees of a fleet of machines."""
