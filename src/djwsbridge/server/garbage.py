"""Keep the garbage collector from looking at very many connections again and again.

A full run visits every object of the process: a tenth of a second for some thousand connections, in which nobody is
served. What an open connection consists of is freed when it ends, without the collector (a test holds us to that), so
it need not be looked at.
"""

from __future__ import annotations

import gc
import itertools

__all__ = ["note_connection"]

FREEZE_EVERY = 250  # connections; what has come together by then is put aside
YOUNG = 10_000  # new objects until the collector looks at them; Python's 700 are a few handshakes

_connections = itertools.count(1)


def note_connection() -> None:
    """Count a new connection, and put aside what is there now when it is time to."""
    if next(_connections) % FREEZE_EVERY == 0:
        gc.collect(1)  # what is young may be garbage, and would stay for ever
        gc.freeze()
        if 0 < gc.get_threshold()[0] < YOUNG:  # 0: somebody has switched the collector off
            gc.set_threshold(YOUNG)
