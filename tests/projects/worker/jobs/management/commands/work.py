"""`manage.py work`: a master process that has set everything up, has pushed itself, and forks two workers."""

import os
import signal
import sys
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand
from django.db import connections, transaction

from djwsbridge.utils import send_ws_message
from jobs.queue import jobs

WORKERS = 2


class Command(BaseCommand):
    help = "Work off jobs."

    def handle(self, *args: Any, **options: Any) -> None:
        send_ws_message(1, {"content": "The workers start."}, durable=True)
        connections.close_all()  # as Celery does before it forks
        children = [pid for pid in (self._fork() for _ in range(WORKERS)) if pid]
        signal.signal(signal.SIGTERM, lambda *_: [os.kill(pid, signal.SIGTERM) for pid in children])
        self.stdout.write("ready")
        self.stdout.flush()
        for pid in children:
            os.waitpid(pid, 0)

    def _fork(self) -> int:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGTERM, _leave)
            for job in jobs():
                with transaction.atomic():
                    send_ws_message(job["user"], job["data"], durable=job["durable"])
        return pid


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(0)
