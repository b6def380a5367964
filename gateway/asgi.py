"""What uvicorn serves on authorizer.sock: the authorizer on top of this installation's database."""

from __future__ import annotations

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
django.setup()

from django.db import connections  # noqa: E402  Django has to be set up first

from gateway.authorizer import build_app  # noqa: E402  as above
from gateway.resolver import DatabaseResolver  # noqa: E402  as above

# Threads that live on may keep their connections: opening SQLite costs as much as asking it.
connections.settings["default"]["CONN_MAX_AGE"] = 60

app = build_app(DatabaseResolver())
