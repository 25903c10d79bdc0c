"""The form that makes an account."""

from __future__ import annotations

from django.contrib.auth.forms import UserCreationForm
from django.core.exceptions import ValidationError

from djwsbridge.chat import services
from djwsbridge.protocol.errors import CommandError

__all__ = ["SignUpForm"]


class SignUpForm(UserCreationForm):  # type: ignore[type-arg]
    """Django's own form; a name must not look like another person's."""

    def clean_username(self) -> str | None:  # type: ignore[override]
        """Refuse names that exist, names that look like one that exists, and what is no part of an address."""
        name: str | None = super().clean_username()
        # The chat's pages have addresses for such names; other pages of the site may not.
        if name in {".", ".."}:
            raise ValidationError("A name needs more than dots.", code="bad_name")
        if name is not None:  # None: the form has refused it already
            try:
                services.check_username(name=name)
            except CommandError as error:
                raise ValidationError(error.message, code=error.code.value) from None
        return name
