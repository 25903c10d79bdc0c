"""The reference project: a chat site that runs from a fresh clone."""
