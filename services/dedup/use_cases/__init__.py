"""What dedup does, one module per verb."""
