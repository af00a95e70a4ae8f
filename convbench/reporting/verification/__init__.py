"""What a person sees of wrong answers: progress of a verification, its tables, and the text of a bug report."""
