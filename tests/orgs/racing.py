"""Things that begin at the same moment."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from django.db import connection

from orgs.errors import Refused


def at_once(*calls: Callable[[], object]) -> Counter[str]:
    """How often each ending occurred: `done`, or the class of the refusal.

    Each call runs in a thread with a database connection of its own; anything but a refusal fails
    the test.
    """
    gate = threading.Barrier(len(calls))

    def run(call: Callable[[], object]) -> str:
        gate.wait(timeout=30)
        try:
            call()
        except Refused as refused:
            return type(refused).__name__
        finally:
            connection.close()
        return "done"

    with ThreadPoolExecutor(len(calls)) as pool:
        return Counter(pool.map(run, calls))
