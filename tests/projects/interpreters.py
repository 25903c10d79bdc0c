"""The environment with Django 6, which needs a newer Python than the library does."""

from __future__ import annotations

import sys

import django

from tests.servers import ROOT

__all__ = ["find_django_6"]

PYTHON = ROOT / ".venv-django6" / "bin" / "python"


def find_django_6() -> str:
    """Return an interpreter whose environment has Django 6.

    Raises:
        FileNotFoundError: there is none.
    """
    if django.VERSION >= (6,):
        return sys.executable
    if PYTHON.exists():
        return str(PYTHON)
    raise FileNotFoundError(
        "This test needs Django 6, and Django 6 needs Python 3.12 or newer. Install that Python, for example by "
        "`apt-get install python3.12-venv`. Then run: make venv-django6"
    )
