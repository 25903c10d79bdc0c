"""The addresses of the API."""

from django.urls import path

from djwsbridge.chat.api import views
from djwsbridge.views import explain_refusal

urlpatterns = [
    path("rooms/", views.RoomsView.as_view(), name="api-rooms"),
    path("rooms/<int:room_id>/join/", views.JoinView.as_view(), name="api-join"),
    path("rooms/<int:room_id>/leave/", views.LeaveView.as_view(), name="api-leave"),
    path("rooms/<int:room_id>/messages/", views.MessagesView.as_view(), name="api-messages"),
    path("rooms/<int:room_id>/members/", views.MembersView.as_view(), name="api-members"),
    path("me/", views.MeView.as_view(), name="api-me"),
    path("socket/", explain_refusal, name="api-socket"),
    path("direct/", views.DirectView.as_view(), name="api-direct"),
]
