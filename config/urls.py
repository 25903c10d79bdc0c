"""The addresses of the site."""

from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.urls import include, path, re_path
from django.views.generic import RedirectView

from config.views import LogInView, SignUpView
from djwsbridge.views import upgrade_required

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="djwsbridge_chat:index")),
    path("accounts/login/", LogInView.as_view(redirect_authenticated_user=True), name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("accounts/signup/", SignUpView.as_view(), name="signup"),
    path("chat/", include("djwsbridge.chat.urls")),
    path("djwsbridge/", include("djwsbridge.urls")),
    re_path(r"^ws/", upgrade_required),
    path("admin/login/", LogInView.as_view()),  # the admin's own counts nothing
    path("admin/", admin.site.urls),
    path("", include("djwsbridge.health")),
]
