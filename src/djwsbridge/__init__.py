"""Lossless real-time messaging for Django over WebSocket, in its own process, database and user model."""

__all__ = ["__version__"]

__version__ = "0.2.0"
