"""What the package offers, and what it does without."""

from __future__ import annotations

import subprocess
import sys

from djwsbridge import client

LOAD = "import djwsbridge.client, sys; print(sorted({name.split('.')[0] for name in sys.modules}))"


def test_every_exported_name_is_there_and_documented() -> None:
    for name in client.__all__:
        assert name == "RESET" or getattr(client, name).__doc__


def test_it_needs_nothing_of_django() -> None:
    done = subprocess.run([sys.executable, "-c", LOAD], check=True, capture_output=True, text=True)
    assert "websockets" in done.stdout
    assert "'django'" not in done.stdout
    assert "'channels'" not in done.stdout
