"""What the backends of torch share."""
