"""The consumer of the ordinary stack."""

from __future__ import annotations

from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from benchmarks.peers.ordinary_site.talk.models import Message

__all__ = ["RoomConsumer"]


class RoomConsumer(AsyncJsonWebsocketConsumer):
    """A member of a room, who can also be written to alone."""

    async def connect(self) -> None:
        """Let in who has a valid token, and join the groups of the room and of the user."""
        if self.scope["user"] is None:
            await self.close(code=4401)
            return
        self.room = self.scope["url_route"]["kwargs"]["room"]
        self.groups_joined = [f"room_{self.room}", f"user_{self.scope['user'].pk}"]
        for group in self.groups_joined:
            await self.channel_layer.group_add(group, self.channel_name)
        await self.accept()

    async def disconnect(self, close_code: int) -> None:
        """Leave the groups."""
        for group in getattr(self, "groups_joined", ()):
            await self.channel_layer.group_discard(group, self.channel_name)

    async def receive_json(self, content: dict[str, Any], **kwargs: object) -> None:
        """Send a message to the room or to a user; store it before when that is asked for."""
        group = f"user_{content['to']}" if "to" in content else f"room_{self.room}"
        if content.get("store"):
            await self.store_message(content["message"]["content"])
        event = {"type": "chat.message", "message": content["message"]}
        await self.channel_layer.group_send(group, event)
        if "id" in content:
            await self.send_json({"id": content["id"], "ok": True})

    async def chat_message(self, event: dict[str, Any]) -> None:
        """Hand a message of a group to the client."""
        await self.send_json({"message": event["message"]})

    @database_sync_to_async
    def store_message(self, content: str) -> None:
        """Store a message."""
        Message.objects.create(room=self.room, sender=self.scope["user"], content=content)
