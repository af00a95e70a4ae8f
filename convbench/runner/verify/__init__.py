"""Looking for wrong answers: a campaign per backend, each in a process of its own."""
