"""The addresses of the base; where tokens are had, the project has made an exception from its own rules."""

from django.urls import path
from mysite import urls
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import JSONParser
from rest_framework.renderers import JSONRenderer
from rest_framework_simplejwt.views import TokenObtainPairView

token = TokenObtainPairView.as_view(
    parser_classes=[JSONParser],
    renderer_classes=[JSONRenderer],
    content_negotiation_class=DefaultContentNegotiation,
    throttle_classes=[],
    versioning_class=None,
)

urlpatterns = [path("api/token/", token), *urls.urlpatterns]
