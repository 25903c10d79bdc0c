"""The addresses of the chat: `path("chat/", include("djwsbridge.chat.urls"))`."""

from django.urls import include, path, register_converter

from djwsbridge.chat import views
from djwsbridge.chat.addresses import NameConverter, RoomNameConverter

register_converter(NameConverter, "djwsbridge_name")
register_converter(RoomNameConverter, "djwsbridge_room")

app_name = "djwsbridge_chat"

urlpatterns = [
    path("", views.index, name="index"),
    path("api/", include("djwsbridge.chat.api.urls")),
    path("rooms/create/", views.create_room, name="create-room"),
    path("direct/", views.open_direct, name="open-direct"),
    path("direct/<djwsbridge_name:username>/", views.direct, name="direct"),
    path("<djwsbridge_room:slug>/", views.room, name="room"),
    path("<djwsbridge_room:slug>/join/", views.join_room, name="join-room"),
    path("<djwsbridge_room:slug>/leave/", views.leave_room, name="leave-room"),
]
