"""What to ask: the factors of a question, the covering array over them, and random search beyond it."""
