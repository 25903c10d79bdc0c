"""The fast path: protocol classes for uvicorn, and how to run them.

    uvicorn mysite.asgi:application --ws djwsbridge.server:WebSocketProtocol --http djwsbridge.server:HTTPProtocol

`manage.py djwsbridge_serve` does so, with workers. Needs the extra `[server]`.
"""

from djwsbridge.server.http import HTTPProtocol
from djwsbridge.server.websocket import WebSocketProtocol

__all__ = ["HTTPProtocol", "WebSocketProtocol"]
