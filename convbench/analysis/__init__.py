"""What follows from the records: who is fastest, by how much, and how sure that is."""
