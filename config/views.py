"""Sign-up, and logging in without end; everything else about accounts is Django's own."""

from __future__ import annotations

import unicodedata
from typing import Any

from django.contrib.auth import login
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.db import IntegrityError, transaction
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse_lazy
from django.views.generic import CreateView

from config.forms import SignUpForm
from config.tries import Limit, forget, is_one_too_many

__all__ = ["LogInView", "SignUpView"]

PASSWORDS = Limit("passwords", 5, 300)  # of one name from one address
LOG_INS = Limit("log-ins", 50, 300)  # from one address; a whole office may share it
SIGN_UPS = Limit("sign-ups", 60, 3600)  # likewise

TOO_MANY_TRIES = "Too many tries. Wait five minutes, then try again."
TOO_MANY_ACCOUNTS = "Too many new accounts from here. Wait an hour, then try again."


class LogInView(LoginView):
    """Django's own; who tries one password after the other has to wait, and learns nothing meanwhile."""

    def post(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        """Look at the password, unless there were too many."""
        tries = (
            is_one_too_many(PASSWORDS, *self._who()),
            is_one_too_many(LOG_INS, _address(request)),
        )
        if any(tries):
            form = self.form_class(request, initial={"username": request.POST.get("username", "")})
            context = self.get_context_data(form=form, refusal=TOO_MANY_TRIES)
            return self.render_to_response(
                context, status=429, headers={"Retry-After": str(PASSWORDS.seconds)}
            )
        return super().post(request, *args, **kwargs)

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        """Log in."""
        forget(PASSWORDS, *self._who())
        return super().form_valid(form)

    def _who(self) -> tuple[str, str]:
        """Return the name, in whatever way it is written, and the address."""
        name = unicodedata.normalize("NFKC", self.request.POST.get("username", ""))
        return name.strip().casefold(), _address(self.request)


class SignUpView(CreateView):  # type: ignore[type-arg]
    """Make an account and go to the chat with it."""

    form_class = SignUpForm
    template_name = "registration/signup.html"
    success_url = reverse_lazy("djwsbridge_chat:index")
    object: Any = None

    def dispatch(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        """Send those who have an account on to the chat."""
        if request.user.is_authenticated:
            return redirect(str(self.success_url))
        return super().dispatch(request, *args, **kwargs)

    def post(self, request: HttpRequest, *args: str, **kwargs: Any) -> HttpResponse:
        """Look at the form, unless there were too many."""
        if is_one_too_many(SIGN_UPS, _address(request)):
            context = self.get_context_data(form=self.form_class(), refusal=TOO_MANY_ACCOUNTS)
            return self.render_to_response(
                context, status=429, headers={"Retry-After": str(SIGN_UPS.seconds)}
            )
        return super().post(request, *args, **kwargs)

    def form_valid(self, form: ModelForm[Any]) -> HttpResponse:
        """Log the new person in."""
        try:
            with transaction.atomic():
                answer = super().form_valid(form)
        except IntegrityError:  # somebody took the name between the check and now
            form.add_error("username", "A user with that username already exists.")
            return self.form_invalid(form)
        login(self.request, self.object)
        return answer


def _address(request: HttpRequest) -> str:
    """Return where a request comes from: the server in front of Django knows its proxies."""
    return str(request.META.get("REMOTE_ADDR", ""))
