"""Obtains the record's key from the control plane, which knows callers by their certificates."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

import grpc

from dataplane.config import Config
from dataplane.recordfile import KEY_BYTES
from protos.generated import key_service_pb2 as pb
from protos.generated import key_service_pb2_grpc as pb_grpc

log = logging.getLogger(__name__)

CALL_SECONDS: Final = 5.0
FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 2.0
FINAL: Final = frozenset(
    {
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)
"""Answers that asking again can't change; everything else may pass, so the client waits."""


class KeyRefused(Exception):
    """The key service has decided against this deployment; the message is its reason."""


def open_index(config: Config, stopping: Callable[[], bool]) -> bytes | None:
    """The deployment's data key, 32 bytes; None where `stopping` said so before there was an
    answer.

    Raises:
        KeyRefused: this deployment gets no key, or the answer is unusable.
    """
    pause = FIRST_PAUSE
    while not stopping():
        try:
            return _ask(config)
        except grpc.RpcError as error:
            if error.code() in FINAL:
                raise KeyRefused(
                    f"the key service refused deployment {config.deployment_id}:"
                    f" {error.code().name}: {error.details()}"
                ) from error
            log.warning("no key yet: %s: %s", error.code().name, error.details())
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
    return None


def _ask(config: Config) -> bytes:
    # Read again for each attempt: a certificate that expired while waiting may be replaced by now.
    credentials = grpc.ssl_channel_credentials(
        root_certificates=config.trust_bundle.read_bytes(),
        private_key=config.private_key.read_bytes(),
        certificate_chain=config.certificate.read_bytes(),
    )
    options = (
        ("grpc.ssl_target_name_override", f"control-plane.{config.trust_domain}"),
        ("grpc.enable_http_proxy", 0),
    )
    with grpc.secure_channel(config.key_service, credentials, options) as channel:
        stub = pb_grpc.KeyServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
        answer: pb.OpenIndexResponse = stub.OpenIndex(
            pb.OpenIndexRequest(deployment_id=config.deployment_id), timeout=CALL_SECONDS
        )
    if len(answer.data_key) != KEY_BYTES:
        raise KeyRefused(
            f"the key service sent {len(answer.data_key)} bytes for deployment"
            f" {config.deployment_id}; a data key has {KEY_BYTES}"
        )
    return answer.data_key
