"""Where people who have installed the library find its documentation: the wheel holds none of it."""

from __future__ import annotations

__all__ = ["DOCUMENTATION", "see"]

# The same as in pyproject.toml, project.urls.
DOCUMENTATION = "https://pypi.org/project/djwsbridge/"


def see(title: str) -> str:
    """Return the sentence that sends a reader to a page."""
    return f'See "{title}" in the documentation, {DOCUMENTATION}'
