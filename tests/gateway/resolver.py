"""A resolver on top of a JSON file: who may call what, replaced by tests as they please.

The file is read for every question that the authorizer's own cache does not answer:
    {"keys": {"<secret>": {"id", "label", "organization_id", "project_id", "grants": "rw",
                           "namespaces": [...] or absent, "ips": [...] or absent}},
     "routes": {"<port>" or "<host>": {"deployment_id", "index_id", "project_id", "organization_id",
                                       "address", "ready", "state"}},
     "delay": seconds that every question takes, "fail": whether it raises}
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Key:
    id: str
    label: str
    organization_id: str
    project_id: str
    grants: frozenset[str]
    secret: str = "lookup"
    namespaces: frozenset[str] | None = None
    ips: tuple[str, ...] = ()
    index_ids: tuple[str, ...] = ()

    def refusal(self, *, ip: str, index_id: Any) -> str:
        if self.ips and ip not in self.ips:
            return f"not from {ip}"
        if self.index_ids and index_id not in self.index_ids:
            return f"not for {index_id}"
        return ""


@dataclass(frozen=True)
class Route:
    deployment_id: str
    index_id: str
    project_id: str
    organization_id: str
    address: str
    ready: bool
    state: str


class FileResolver:
    def __init__(self, path: Path) -> None:
        self._path = path

    def _store(self) -> dict[str, Any]:
        store: dict[str, Any] = json.loads(self._path.read_text())
        time.sleep(store.get("delay", 0))
        if store.get("fail"):
            raise OSError("the disk is gone")
        return store

    def verify_key(self, secret: str) -> Key | None:
        row = self._store()["keys"].get(secret)
        if row is None:
            return None
        names = row.get("namespaces")
        sets = {
            "grants": frozenset(row["grants"]),
            "namespaces": None if names is None else frozenset(names),
        }
        return Key(**{**row, **sets})

    def route_for(self, host: str, port: int | None) -> Route | None:
        routes = self._store()["routes"]
        row = routes.get(host.partition(":")[0].lower()) or routes.get(str(port))
        return Route(**row) if row else None
