"""The I/O shell on ASGI: accepts, reads, writes; knows no rule."""
