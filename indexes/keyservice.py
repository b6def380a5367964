"""The key service: hands an index's data key to that index's server, and to nobody else.

A gRPC server on a private unix socket. The caller's certificate names the index; no request field
does, so a caller can only ever ask for its own. A key is released while the index lives and its key
is not shredded. Every answer, yes or no, is in the audit trail before it is given.
"""

from __future__ import annotations

import logging
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import grpc
from django.conf import settings
from django.db import DatabaseError, close_old_connections

from audit.events import EventType
from audit.models import AuditEvent
from audit.services import record
from indexes import data_keys
from indexes.certificates import Identity, control_plane_identity
from indexes.models import Index
from kms.certificates import spiffe_id
from kms.envelope import KeyUnavailable
from orgs.actors import Actor
from protos.generated import key_service_pb2 as pb
from protos.generated import key_service_pb2_grpc as pb_grpc
from rest.wording import shown

logger = logging.getLogger(__name__)

STOP_SECONDS = 3
THREADS = 4
CONNECTION_AGE_MS = 3_600_000
"""An established connection outlives its certificate, so none may live long."""
_HEX = "[0-9a-f]"
_ID = f"({_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}})"


class Refusal(Exception):
    """No key; `code` tells the server whether asking again can help."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class KeyService(pb_grpc.KeyServiceServicer):
    """Answers `OpenIndex`."""

    def OpenIndex(
        self, request: pb.OpenIndexRequest, context: grpc.ServicerContext
    ) -> pb.OpenIndexResponse:
        """The data key of the index that the caller's certificate names.

        Ends with PERMISSION_DENIED (no index's certificate, or another index's deployment),
        NOT_FOUND (no such live index), FAILED_PRECONDITION (being deleted, key shredded or
        damaged) or UNAVAILABLE (the database does not answer; ask again).
        """
        close_old_connections()
        try:
            return self._release(_peer(context), request.deployment_id)
        except Refusal as error:
            context.abort(error.code, str(error))
        except DatabaseError as error:
            logger.error("The database does not answer: %s", error)
            context.abort(grpc.StatusCode.UNAVAILABLE, "The database does not answer.")
        finally:
            close_old_connections()
        raise AssertionError("abort() raises")

    def _release(self, peer: str, deployment_id: str) -> pb.OpenIndexResponse:
        try:
            index, key, version = open_for(peer, deployment_id)
        except Refusal as error:
            _record(EventType.INDEX_KEY_REFUSED, peer, deployment_id, reason=str(error))
            logger.warning("Refused %s: %s", peer, error)
            raise
        _record(EventType.INDEX_KEY_RELEASED, peer, deployment_id, index=index, version=version)
        return pb.OpenIndexResponse(data_key=key, data_key_version=version)


def open_for(peer: str, deployment_id: str) -> tuple[Index, bytes, int]:
    """The index that the peer's SPIFFE id names, its data key and the key's version.

    Raises:
        Refusal: the peer gets no key.
    """
    identity = re.fullmatch(
        re.escape(spiffe_id(settings.TAMARACK_TRUST_DOMAIN, "org"))
        + f"/{_ID}/project/{_ID}/index/{_ID}",
        peer,
    )
    if identity is None:
        raise Refusal(
            grpc.StatusCode.PERMISSION_DENIED, f"{shown(peer)} is no index server of this platform."
        )
    organization_id, project_id, index_id = (UUID(part) for part in identity.groups())
    index = (
        Index.objects.select_related("project")
        .filter(
            pk=index_id,
            project_id=project_id,
            project__organization_id=organization_id,
            deleted_at=None,
        )
        .first()
    )
    if index is None:
        raise Refusal(grpc.StatusCode.NOT_FOUND, f"There is no index {index_id}.")
    live = [
        str(pk) for pk in index.deployments.filter(removed_at=None).values_list("pk", flat=True)
    ]
    if deployment_id not in live:
        raise Refusal(
            grpc.StatusCode.PERMISSION_DENIED,
            f"Deployment {shown(deployment_id)} is not one of index {index_id}.",
        )
    key = index.data_keys.order_by("-version").first()
    if index.state == Index.State.TERMINATING or key is None or key.shredded_at is not None:
        raise Refusal(
            grpc.StatusCode.FAILED_PRECONDITION,
            f"Index {index_id} has no key to give: it is being deleted or its key is shredded.",
        )
    try:
        return index, data_keys.open_key(key), key.version
    except KeyUnavailable as error:
        raise Refusal(grpc.StatusCode.FAILED_PRECONDITION, str(error)) from error


def serve(stop: threading.Event, socket: Path | None = None) -> None:
    """Serve on the private socket until `stop` is set.

    Raises:
        CertificateError, KeyUnavailable: the service can't show who it is.
        OSError: the socket can't be made.
    """
    socket = socket or settings.TAMARACK_RUN_DIR / "keyservice.sock"
    server = grpc.server(
        ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="keyservice"),
        options=[("grpc.max_connection_age_ms", CONNECTION_AGE_MS)],
    )
    pb_grpc.add_KeyServiceServicer_to_server(KeyService(), server)  # type: ignore[no-untyped-call]  # generated
    identity = control_plane_identity()
    credentials = grpc.dynamic_ssl_server_credentials(
        _server_certificates(identity),
        lambda: _server_certificates(identity),
        require_client_authentication=True,
    )
    socket.unlink(missing_ok=True)
    server.add_secure_port(f"unix:{socket}", credentials)
    server.start()
    socket.chmod(0o600)
    logger.info("Serving on %s", socket)
    stop.wait()
    server.stop(STOP_SECONDS).wait()
    socket.unlink(missing_ok=True)


def _server_certificates(identity: Identity) -> grpc.ServerCertificateConfiguration:
    pair, trust_bundle = identity.current()
    return grpc.ssl_server_certificate_configuration(
        [(pair.private_key, pair.certificate)], root_certificates=trust_bundle
    )


def _peer(context: grpc.ServicerContext) -> str:
    """The caller's SPIFFE id; empty without exactly one."""
    values: list[bytes] = list(context.auth_context().get("peer_spiffe_id", []))  # type: ignore[arg-type]  # lists, whatever its stub says
    return values[0].decode(errors="replace") if len(values) == 1 else ""


def _record(
    event: EventType,
    peer: str,
    deployment_id: str,
    *,
    index: Index | None = None,
    **detail: object,
) -> None:
    """What the trail keeps. What a refused peer says may be made up: it is cut and quoted."""
    refused = event is EventType.INDEX_KEY_REFUSED
    record(
        event,
        actor=Actor(kind="system", id="index-server", label=peer[:320] or "unknown"),
        organization_id=index.project.organization_id if index else None,
        resource=("index", index.pk if index else "", index.name if index else ""),
        detail={"deployment_id": shown(deployment_id), **detail},
        outcome=AuditEvent.Outcome.FAILURE if refused else AuditEvent.Outcome.SUCCESS,
    )
