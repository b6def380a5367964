"""Where a deployment's files lie on its node, and writing and removing them."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from uuid import UUID

from django.conf import settings

from indexes.certificates import refresh_index_pair
from indexes.models import Deployment
from kms.files import write_atomically


def folder_of(deployment_id: UUID) -> Path:
    """The deployment's own folder: record, configuration, certificate."""
    folder: Path = settings.TAMARACK_HOME / "indexes" / str(deployment_id)
    return folder


def config_path(deployment_id: UUID) -> Path:
    """The file that the server is started with."""
    return folder_of(deployment_id) / "config.json"


def record_path(deployment_id: UUID) -> Path:
    """The server's encrypted record: the one file that can't be made again."""
    return folder_of(deployment_id) / "record.db"


def socket_path(deployment_id: UUID) -> Path:
    """The server's unix socket, for this node's probes."""
    path: Path = settings.TAMARACK_RUN_DIR / "index" / f"{deployment_id}.sock"
    return path


def log_path(deployment_id: UUID) -> Path:
    """What the server prints."""
    path: Path = settings.TAMARACK_HOME / "log" / f"index-{deployment_id}.log"
    return path


def _memory_folder(deployment_id: UUID) -> Path:
    folder: Path = settings.TAMARACK_RAM_DIR / str(deployment_id)
    return folder


def config_of(deployment: Deployment) -> dict[str, object]:
    """What the index server has to know; nothing of it is secret."""
    index, folder = deployment.index, folder_of(deployment.pk)
    return {
        "organization_id": str(index.project.organization_id),
        "project_id": str(index.project_id),
        "index_id": str(index.pk),
        "deployment_id": str(deployment.pk),
        "trust_domain": settings.TAMARACK_TRUST_DOMAIN,
        "dimension": index.dimension,
        "metric": index.metric,
        "vector_type": index.vector_type,
        "listen": f"{deployment.address}:{deployment.port}",
        "socket": str(socket_path(deployment.pk)),
        "record": str(record_path(deployment.pk)),
        "ram_dir": str(_memory_folder(deployment.pk)),
        "certificate": str(folder / "tls.crt"),
        "private_key": str(folder / "tls.key"),
        "trust_bundle": str(folder / "ca.crt"),
        "key_service": f"unix:{settings.TAMARACK_RUN_DIR / 'keyservice.sock'}",
    }


def write(deployment: Deployment) -> None:
    """Everything that the server needs before it starts; what is there and right stays.

    Raises:
        CertificateError, KeyUnavailable: no certificate can be issued.
        OSError: a file can't be written.
    """
    folder = folder_of(deployment.pk)
    for private in (folder, socket_path(deployment.pk).parent, log_path(deployment.pk).parent):
        private.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = config_path(deployment.pk)
    text = json.dumps(config_of(deployment), indent=1).encode()
    if not path.exists() or path.read_bytes() != text:
        write_atomically(path, text, mode=0o600)
    refresh_index_pair(deployment, folder)


def remove(deployment_id: UUID) -> None:
    """Remove every file of the deployment. Repeating it changes nothing."""
    for folder in (folder_of(deployment_id), _memory_folder(deployment_id)):
        if folder.exists():
            shutil.rmtree(folder)
    socket_path(deployment_id).unlink(missing_ok=True)
    log = log_path(deployment_id)
    for path in (log, *log.parent.glob(f"{log.name}.*")):
        path.unlink(missing_ok=True)


def is_port_free(address: str, port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As gRPC's listener does: connections of a former server that linger are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
