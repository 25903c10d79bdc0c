"""What connects the nodes: one small interface and its implementations."""
