"""Keeps what this process holds in memory out of core dumps and out of other processes' reach."""

from __future__ import annotations

import ctypes
import os
import resource
import signal

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl({option}, {value}): {os.strerror(code)}")


def harden() -> None:
    """No core dump, no ptrace by processes of the same user, files readable by their owner only.

    Raises:
        OSError: the kernel refused; the caller must not go on to hold a key.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(PR_SET_DUMPABLE, 0)
    os.umask(0o077)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the one that started it (`parent`, a pid) ends,
    however it ends.
    """
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the line above
        os.kill(os.getpid(), signal.SIGKILL)
