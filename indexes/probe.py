"""Asking an index server whether it serves: the standard health check over mutual TLS."""

from __future__ import annotations

from functools import lru_cache

import grpc
from grpc_health.v1 import (  # type: ignore[import-untyped]  # ships no types
    health_pb2,
    health_pb2_grpc,
)

from indexes import files
from indexes.certificates import index_dns_name, node_identity
from indexes.models import Deployment

ANSWER_SECONDS = 1.0


_identity = lru_cache(maxsize=1)(node_identity)


def is_healthy(deployment: Deployment) -> bool:
    """Whether the deployment's own server, by its certificate, answers SERVING within a second.

    Raises:
        CertificateError, KeyUnavailable: this node can't show who it is.
    """
    socket = files.socket_path(deployment.pk)
    if not socket.exists():
        return False
    pair, trust_bundle = _identity().current()
    credentials = grpc.ssl_channel_credentials(trust_bundle, pair.private_key, pair.certificate)
    options = [
        ("grpc.ssl_target_name_override", index_dns_name(deployment.index)),
        # Channels of one process would share connections, one to a server that is gone included.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    with grpc.secure_channel(f"unix:{socket}", credentials, options) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=ANSWER_SECONDS
            )
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
