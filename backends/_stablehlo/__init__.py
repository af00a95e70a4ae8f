"""StableHLO in text, as IREE compiles it."""
