"""From failures to causes: grouping, shrinking to the smallest case, and a report of each."""
