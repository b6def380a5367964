"""The server's configuration: one JSON file without secrets, checked as a whole before anything
starts.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal

from dataplane.limits import MAX_DIMENSION

Metric = Literal["cosine", "dotproduct", "euclidean"]
VectorType = Literal["dense", "sparse"]

METRICS: Final = ("cosine", "dotproduct", "euclidean")
VECTOR_TYPES: Final = ("dense", "sparse")
MAX_SOCKET_PATH: Final = 107
"""Bytes; Linux' `sockaddr_un` holds no more."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TRUST_DOMAIN = re.compile(r"[a-z0-9][a-z0-9.-]{0,254}")
_LISTEN = re.compile(r"(?P<host>[0-9.]+|\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):(?P<port>\d{1,5})")


class ConfigError(Exception):
    """The file or a value in it is unusable; the message names it, the rule and what to write
    instead.
    """


@dataclass(frozen=True, slots=True)
class Config:
    """One deployment: who it is, what it stores, where it listens and where its files are.

    `dimension` is 1-20000 for dense vectors, None for sparse ones. `listen` is `host:port`;
    `socket` a unix path.
    """

    organization_id: str
    project_id: str
    index_id: str
    deployment_id: str
    trust_domain: str
    dimension: int | None
    metric: Metric
    vector_type: VectorType
    listen: str
    socket: Path
    record: Path
    ram_dir: Path
    certificate: Path
    private_key: Path
    trust_bundle: Path
    key_service: str


def load_config(path: Path) -> Config:
    """Read and check the file at `path`.

    Raises:
        ConfigError: it can't be read, is not a JSON object, or has a missing, unknown or bad value.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: can't read it: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected a JSON object, found {type(raw).__name__}")
    names = [field.name for field in fields(Config)]
    if missing := [name for name in names if name not in raw]:
        raise ConfigError(f"{path}: {', '.join(missing)} missing; every key is required")
    if unknown := sorted(set(raw) - set(names)):
        raise ConfigError(f"{path}: unknown {', '.join(unknown)}; known keys: {', '.join(names)}")
    config = Config(**_checked(raw))
    _check_files(config)
    return config


def _checked(raw: dict[str, Any]) -> dict[str, Any]:
    values = dict(raw)
    for name in ("organization_id", "project_id", "index_id", "deployment_id"):
        _match(name, raw[name], _NAME, "1-64 letters, digits, '-' or '_'")
    _match("trust_domain", raw["trust_domain"], _TRUST_DOMAIN, "a lower-case domain name")
    _choice("metric", raw["metric"], METRICS)
    _choice("vector_type", raw["vector_type"], VECTOR_TYPES)
    dimension = raw["dimension"]
    if raw["vector_type"] == "sparse":
        if dimension is not None:
            raise ConfigError(f"dimension {dimension!r}: sparse vectors have none; write null")
        if raw["metric"] != "dotproduct":
            raise ConfigError(
                f"metric {raw['metric']!r}: sparse vectors are compared by 'dotproduct' only"
            )
    elif (
        not isinstance(dimension, int)
        or isinstance(dimension, bool)
        or not 1 <= dimension <= MAX_DIMENSION
    ):
        raise ConfigError(f"dimension {dimension!r}: expected an integer from 1 to {MAX_DIMENSION}")
    listen = _match("listen", raw["listen"], _LISTEN, "host:port, for example 127.0.0.1:21444")
    if not 1 <= int(listen["port"]) <= 65535:  # noqa: PLR2004  a port number
        raise ConfigError(f"listen {raw['listen']!r}: the port must be 1-65535")
    key_service = raw["key_service"]
    if not isinstance(key_service, str) or not key_service.startswith("unix:/"):
        raise ConfigError(f"key_service {key_service!r}: expected unix:/path/of/the.sock")
    for name in ("socket", "record", "ram_dir", "certificate", "private_key", "trust_bundle"):
        if not isinstance(raw[name], str) or not raw[name].startswith("/"):
            raise ConfigError(f"{name} {raw[name]!r}: expected an absolute path")
        values[name] = Path(raw[name])
    for name, socket in (("socket", raw["socket"]), ("key_service", key_service[5:])):
        if len(os.fsencode(socket)) > MAX_SOCKET_PATH:
            raise ConfigError(
                f"{name} {socket!r}: {len(os.fsencode(socket))} bytes, but the system allows "
                f"{MAX_SOCKET_PATH} for a socket; choose a shorter run directory"
            )
    return values


def _match(name: str, value: object, pattern: re.Pattern[str], rule: str) -> re.Match[str]:
    found = pattern.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ConfigError(f"{name} {value!r}: expected {rule}")
    return found


def _choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} {value!r}: expected one of {', '.join(allowed)}")


def _check_files(config: Config) -> None:
    for name in ("certificate", "private_key", "trust_bundle"):
        path: Path = getattr(config, name)
        try:
            with path.open("rb"):
                pass
        except OSError as error:
            raise ConfigError(f"{name} {path}: can't read it: {error.strerror}") from error
    for name, folder in (("record", config.record.parent), ("socket", config.socket.parent)):
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ConfigError(f"{name}: {folder} is not a folder this user can write to")
    try:
        config.ram_dir.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"ram_dir {config.ram_dir}: can't create it: {error.strerror}") from error
    kind = filesystem_of(config.ram_dir)
    if kind not in {"tmpfs", "ramfs"}:
        raise ConfigError(
            f"ram_dir {config.ram_dir}: lies on {kind}, but the index in it is plain text and may"
            " only be kept in memory; choose a folder on tmpfs"
        )


def filesystem_of(path: Path) -> str:
    """The type of the file system that `path` lies on (`tmpfs`, `ext4`, …), `unknown` where the
    kernel won't say.
    """
    device = path.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        left, _, right = line.partition(" - ")
        if left.split()[2] == wanted:
            return right.split()[0]
    return "unknown"
