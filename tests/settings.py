"""Settings of the test suite: a home per test process, databases and queues as in production.

Not inside `controlplane.settings`: importing a module of that package reads the real ones first.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

# pytest-xdist runs several processes; each gets a home that goes with it.
if os.environ.get("TAMARACK_TEST_PID") != str(os.getpid()):
    _home = tempfile.mkdtemp(prefix="tmrk-")
    os.environ.update(TAMARACK_TEST_PID=str(os.getpid()), TAMARACK_HOME=_home)
    # Test processes run side by side: each has ports of its own for its index servers.
    _first_port = 21400 + os.getpid() % 33 * 30
    os.environ["TAMARACK_UPSTREAM_PORTS"] = f"{_first_port}-{_first_port + 29}"
    os.environ.pop("TAMARACK_RUN_DIR", None)
    os.environ["TAMARACK_RAM_DIR"] = f"/dev/shm/{Path(_home).name}"  # noqa: S108  made 0700
    for _path in (_home, os.environ["TAMARACK_RAM_DIR"]):
        atexit.register(shutil.rmtree, _path, ignore_errors=True)

from controlplane.settings import *  # noqa: F403  the real settings, read after the home is named
from controlplane.settings import DATABASES, STORAGES, TAMARACK_HOME

for _folder in ("run", "static"):
    Path(TAMARACK_HOME, _folder).mkdir(mode=0o700, exist_ok=True)
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
if "sqlite3" in DATABASES["default"]["ENGINE"]:
    # A file, not memory: threads and processes have to meet in it.
    DATABASES["default"]["TEST"] = {"NAME": Path(TAMARACK_HOME) / "test.sqlite3"}
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
# Some tests send more requests in a second than anybody else in an hour.
TAMARACK_API_RATE = 1_000_000
