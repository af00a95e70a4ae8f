"""How machines are reached: cluster files, connections, and the workers of Dask that leave their machine alone."""
