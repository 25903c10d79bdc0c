"""The tables of the chat."""

from djwsbridge.chat.models.membership import Membership, Role
from djwsbridge.chat.models.message import Message
from djwsbridge.chat.models.name_skeleton import NameSkeleton
from djwsbridge.chat.models.profile import Profile
from djwsbridge.chat.models.room import Room

__all__ = ["Membership", "Message", "NameSkeleton", "Profile", "Role", "Room"]
