"""Asking an index server whether it serves, and what it holds, over mutual TLS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import grpc
from grpc_health.v1 import (  # type: ignore[import-untyped]  # ships no types
    health_pb2,
    health_pb2_grpc,
)

from indexes import files
from indexes.certificates import index_dns_name, node_identity
from indexes.models import Deployment
from protos.generated import vector_service_pb2 as pb

ANSWER_SECONDS = 1.0
STATS = "/VectorService/DescribeIndexStats"


_identity = lru_cache(maxsize=1)(node_identity)


@contextmanager
def channel_to(deployment: Deployment) -> Iterator[grpc.Channel]:
    """A channel to the deployment's own server, by its certificate; nothing is sent yet.

    Raises:
        CertificateError, KeyUnavailable: this node can't show who it is.
    """
    pair, trust_bundle = _identity().current()
    credentials = grpc.ssl_channel_credentials(trust_bundle, pair.private_key, pair.certificate)
    options = [
        ("grpc.ssl_target_name_override", index_dns_name(deployment.index)),
        # Channels of one process would share connections, one to a server that is gone included.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    address = f"unix:{files.socket_path(deployment.pk)}"
    with grpc.secure_channel(address, credentials, options) as channel:
        yield channel


def is_healthy(deployment: Deployment) -> bool:
    """Whether the deployment's own server, by its certificate, answers SERVING within a second.

    Raises:
        CertificateError, KeyUnavailable: this node can't show who it is.
    """
    if not files.socket_path(deployment.pk).exists():
        return False
    with channel_to(deployment) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=ANSWER_SECONDS
            )
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def describe(deployment: Deployment) -> pb.DescribeIndexStatsResponse:
    """What the deployment's server says that it holds.

    Raises:
        grpc.RpcError: it does not answer within a second.
        CertificateError, KeyUnavailable: this node can't show who it is.
    """
    with channel_to(deployment) as channel:
        ask = channel.unary_unary(
            STATS,
            request_serializer=pb.DescribeIndexStatsRequest.SerializeToString,
            response_deserializer=pb.DescribeIndexStatsResponse.FromString,
        )
        answer: pb.DescribeIndexStatsResponse = ask(
            pb.DescribeIndexStatsRequest(), timeout=ANSWER_SECONDS
        )
        return answer
