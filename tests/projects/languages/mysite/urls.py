"""The pages under their language; what programs ask for has none."""

from django.conf.urls.i18n import i18n_patterns
from django.contrib import admin
from django.urls import include, path
from people import views
from rest_framework_simplejwt.views import TokenObtainPairView

urlpatterns = [
    path("api/token/", TokenObtainPairView.as_view()),
    path("djwsbridge/", include("djwsbridge.urls")),
    path("push/", views.push),
    path("letters/", views.letters),
    *i18n_patterns(
        path("accounts/", include("django.contrib.auth.urls")),
        path("admin/", admin.site.urls),
        path("chat/", include("djwsbridge.chat.urls")),
    ),
]
