"""The addresses of the chat: `path("chat/", include("djwsbridge.chat.urls"))`."""

from django.urls import include, path

from djwsbridge.chat import views

app_name = "djwsbridge_chat"

urlpatterns = [
    path("", views.index, name="index"),
    path("api/", include("djwsbridge.chat.api.urls")),
    path("rooms/create/", views.create_room, name="create-room"),
    path("direct/", views.open_direct, name="open-direct"),
    path("direct/<str:username>/", views.direct, name="direct"),
    path("<str:slug>/", views.room, name="room"),
    path("<str:slug>/join/", views.join_room, name="join-room"),
    path("<str:slug>/leave/", views.leave_room, name="leave-room"),
]
