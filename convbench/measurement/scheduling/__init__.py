"""Who is measured when, and when it is enough: rounds, qualification, races, A/A tests."""
