"""Sign-up; everything else about accounts is Django's own."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import login
from django.db import IntegrityError, transaction
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse_lazy
from django.views.generic import CreateView

from config.forms import SignUpForm

__all__ = ["SignUpView"]


class SignUpView(CreateView):  # type: ignore[type-arg]
    """Make an account and go to the chat with it."""

    form_class = SignUpForm
    template_name = "registration/signup.html"
    success_url = reverse_lazy("djwsbridge_chat:index")

    def dispatch(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        """Send those who have an account on to the chat."""
        if request.user.is_authenticated:
            return redirect(str(self.success_url))
        return super().dispatch(request, *args, **kwargs)

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
