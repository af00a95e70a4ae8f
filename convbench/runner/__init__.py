"""What each command does, without a terminal: it measures, verifies or analyses and returns values."""
