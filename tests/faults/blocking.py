"""An app of the workers that blocks their event loop when it is told: a handler that does not give way."""

from __future__ import annotations

import signal
import time
from types import FrameType

from django.apps import AppConfig

__all__ = ["BLOCK", "BlockingConfig"]

BLOCK = signal.SIGUSR1
SECONDS = 3.0


class BlockingConfig(AppConfig):
    """Wait to be told."""

    name = "tests.faults.blocking"
    label = "blocking"

    def ready(self) -> None:
        """Take the signal; Python runs its handler in the main thread, which is that of the event loop."""
        signal.signal(BLOCK, _block)


def _block(number: int, frame: FrameType | None) -> None:
    time.sleep(SECONDS)
