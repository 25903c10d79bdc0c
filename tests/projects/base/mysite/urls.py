"""The addresses that every project has."""

from django.contrib import admin
from django.urls import include, path
from people import views
from rest_framework_simplejwt.views import TokenObtainPairView

urlpatterns = [
    path("accounts/", include("django.contrib.auth.urls")),
    path("admin/", admin.site.urls),
    path("api/token/", TokenObtainPairView.as_view()),
    path("chat/", include("djwsbridge.chat.urls")),
    path("djwsbridge/", include("djwsbridge.urls")),
    path("push/", views.push),
    path("letters/", views.letters),
]
