"""HTTP routes of the core, for a project that uses tickets: `path("djwsbridge/", include("djwsbridge.urls"))`."""

from django.urls import path

from djwsbridge.views import TicketView

app_name = "djwsbridge"
urlpatterns = [path("ticket/", TicketView.as_view(), name="ticket")]
