"""A consumer for everybody, also for those who have not logged in."""

from typing import Any

from channels.generic.websocket import AsyncJsonWebsocketConsumer


class LobbyConsumer(AsyncJsonWebsocketConsumer):
    groups = ("lobby",)

    async def connect(self) -> None:
        await self.accept(self.scope["subprotocols"][0] if self.scope["subprotocols"] else None)
        query = self.scope["query_string"].decode()
        await self.send_json({"user": str(self.scope["user"]), "query": query})

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        await self.channel_layer.group_send("lobby", {"type": "lobby.said", "text": content})

    async def lobby_said(self, event: dict[str, Any]) -> None:
        await self.send_json({"said": event["text"]})
