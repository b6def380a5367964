"""Processes that must not outlive the one that started them."""

from __future__ import annotations

import ctypes
import signal

PR_SET_PDEATHSIG = 1


def end_with_parent(number: signal.Signals = signal.SIGTERM) -> None:
    """Have the kernel send this process the signal when its parent ends, however it ends.

    For Linux (prctl(2)); the thread that started this process has to be its parent's main thread.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
