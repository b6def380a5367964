"""Tools that need an environment of their own, made below `.cache` when first needed."""

from __future__ import annotations

import fcntl
import os
import subprocess
import venv
from pathlib import Path

from tests.platform.support import ROOT

CACHE = ROOT / ".cache"


def environment(name: str, *requirements: str) -> Path:
    """The folder of a virtual environment with these requirements; safe across processes."""
    folder = CACHE / name
    CACHE.mkdir(exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "installed").exists():
            venv.create(folder, with_pip=True, clear=True)
            python = str(folder / "bin" / "python")
            # Old tools come as sources too, which the project itself would not accept.
            allowed = {k: v for k, v in os.environ.items() if k != "PIP_ONLY_BINARY"}
            command = [python, "-m", "pip", "install", "--quiet", *requirements]
            subprocess.run(command, check=True, env=allowed)
            (folder / "installed").touch()
    return folder
