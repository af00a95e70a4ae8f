"""What a person sees of changes: of two sets of records, along a series, from release to release."""
