"""One sample inside a worker: on the CPU's clocks or a device's, with caches in a known state."""
