"""The REST API of the chat: the same services, over HTTP."""
