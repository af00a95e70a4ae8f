"""Programs of `torch.export.save`, read as data: the archive, its nodes, its sizes, and graphs within graphs."""
