"""HTTP routes of the core: `path("djwsbridge/", include("djwsbridge.urls"))`."""

from django.urls import path

from djwsbridge.views import TicketView, explain_refusal

app_name = "djwsbridge"
urlpatterns = [
    path("ticket/", TicketView.as_view(), name="ticket"),
    path("socket/", explain_refusal, name="socket"),
]
