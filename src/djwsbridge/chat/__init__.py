"""The chat: rooms, private messages, history, REST API and pages on top of the library."""
