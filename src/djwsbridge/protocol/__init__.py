"""The wire protocol, without I/O, Django or Channels."""
