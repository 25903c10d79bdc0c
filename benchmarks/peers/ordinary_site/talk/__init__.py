"""The app of the ordinary stack: one table for messages."""
