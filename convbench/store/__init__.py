"""What we know: the journal, its records as a data frame, the folder they are in."""
