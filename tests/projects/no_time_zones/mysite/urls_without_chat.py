"""The addresses of a project that has no chat."""

from django.urls import include, path
from people import views
from rest_framework_simplejwt.views import TokenObtainPairView

urlpatterns = [
    path("accounts/", include("django.contrib.auth.urls")),
    path("api/token/", TokenObtainPairView.as_view()),
    path("djwsbridge/", include("djwsbridge.urls")),
    path("push/", views.push),
    path("letters/", views.letters),
]
