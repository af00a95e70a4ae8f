"""What follows from the records: which backend is fastest, by how much, and how sure that is."""
