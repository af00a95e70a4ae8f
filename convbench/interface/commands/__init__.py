"""The commands: their options and their help. Each does its work in a module imported when it is called."""
