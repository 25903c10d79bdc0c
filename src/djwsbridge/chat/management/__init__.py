"""Management commands of the chat."""
