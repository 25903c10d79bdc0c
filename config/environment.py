"""Read the environment: where the settings of the reference project come from."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

__all__ = ["read_flag", "read_list", "read_local_secret"]

TRUE_WORDS = frozenset({"1", "true", "yes", "on"})
FALSE_WORDS = frozenset({"0", "false", "no", "off", ""})


def read_flag(name: str, *, default: bool) -> bool:
    """Return a variable that is on or off.

    Raises:
        ValueError: the value is neither.
    """
    value = os.environ.get(name)
    if value is None:
        return default
    word = value.strip().lower()
    if word not in TRUE_WORDS | FALSE_WORDS:
        raise ValueError(f"{name} is on (1, true, yes) or off (0, false, no); not {value!r}.")
    return word in TRUE_WORDS


def read_list(name: str) -> list[str]:
    """Return the parts of a variable that are separated by commas."""
    return [part.strip() for part in os.environ.get(name, "").split(",") if part.strip()]


def read_local_secret(directory: Path) -> str:
    """Return the secret of this working copy, which the first call makes.

    Two processes that start together agree: the file appears whole, and only once.
    """
    path = directory / "secret_key"
    if not path.exists():
        directory.mkdir(mode=0o700, exist_ok=True)
        (directory / ".gitignore").write_text("*\n")
        with tempfile.NamedTemporaryFile("w", dir=directory, delete=False) as file:
            file.write(secrets.token_urlsafe(50))
        try:
            os.link(file.name, path)
        except FileExistsError:
            pass  # the other process was faster
        finally:
            Path(file.name).unlink()
    return path.read_text()
