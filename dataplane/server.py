"""The gRPC server: mutual TLS on a TCP port and a unix socket, certificates read from disk at every
handshake.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import grpc
from grpc_health.v1 import (  # type: ignore[import-untyped]  # ships no types
    health,
    health_pb2,
    health_pb2_grpc,
)

from dataplane.config import Config
from dataplane.index import VectorIndex
from dataplane.limits import MAX_QUEUED_CALLS, MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES
from dataplane.peers import PeerCheck
from dataplane.service import VectorService
from protos.generated import vector_service_pb2_grpc as pb_grpc

log = logging.getLogger(__name__)

THREADS: Final = 2
"""More would only wait for the interpreter lock; measured 1.1-1.5 times slower with eight."""
MAX_CONNECTION_AGE_MS: Final = 3_600_000
"""Peers have to show a valid certificate again at least this often."""
STOP_SECONDS: Final = 4.0
DRAIN_SECONDS: Final = 2.0
"""How long, at most, a stopping server waits for its callers to go away."""
QUIET_SECONDS: Final = 0.3
"""So long without a call, and they have gone."""
STOPPING: Final = "This index server is stopping, so nothing was done. Try again shortly."
VECTOR_SERVICE: Final = "VectorService"


class CertificateStore:
    """This server's certificate and the roots it trusts, as they are on disk now."""

    def __init__(self, config: Config) -> None:
        """Read the files.

        Raises:
            OSError: one of them can't be read.
        """
        self._files = (config.private_key, config.certificate, config.trust_bundle)
        self._stamp = self._read_stamp()
        self.initial = self._read()

    def renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """The files' content where it has changed since the last call, else None.

        It may catch the files half replaced; gRPC refuses a key that doesn't fit and goes on with
        what it has, and the other half's arrival is a change again.
        """
        try:
            stamp = self._read_stamp()
            if stamp == self._stamp:
                return None
            found = self._read()
        except OSError as error:  # a handshake waits for this answer: keep the previous certificate
            log.warning("can't read the certificate: %s", error)
            return None
        self._stamp = stamp
        return found

    def _read_stamp(self) -> tuple[tuple[int, int, int], ...]:
        states = (path.stat() for path in self._files)
        return tuple((state.st_mtime_ns, state.st_ino, state.st_size) for state in states)

    def _read(self) -> grpc.ServerCertificateConfiguration:
        key, certificate, roots = (path.read_bytes() for path in self._files)
        return grpc.ssl_server_certificate_configuration([(key, certificate)], roots)


class Drain(grpc.ServerInterceptor):
    """Once begun, refuses every call with UNAVAILABLE.

    gRPC itself answers a call that arrives while it stops with CANCELLED, which no client takes for
    a reason to try again.
    """

    def __init__(self) -> None:
        """Calls pass until `begin`."""
        self._called_at = 0.0
        self._begun = False

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The method's handler, or one that refuses."""
        self._called_at = time.monotonic()
        if not self._begun:
            return continuation(handler_call_details)
        return grpc.unary_unary_rpc_method_handler(_refuse)

    def begin(self) -> None:
        """Refuse from now on; returns when callers have stopped coming, or after DRAIN_SECONDS."""
        self._begun = True
        deadline = time.monotonic() + DRAIN_SECONDS
        while (now := time.monotonic()) < deadline:
            quiet = now - self._called_at
            if quiet >= QUIET_SECONDS:
                return
            time.sleep(QUIET_SECONDS - quiet)


def _refuse(request: bytes, context: grpc.ServicerContext) -> bytes:
    context.abort(grpc.StatusCode.UNAVAILABLE, STOPPING)


class Server:
    """The listening server of one index."""

    def __init__(self, config: Config, index: VectorIndex) -> None:
        """Bind both addresses; `start` begins to answer.

        Raises:
            RuntimeError: an address can't be bound; the message names it.
        """
        self._socket = config.socket
        self._drain = Drain()
        self._grpc = grpc.server(
            ThreadPoolExecutor(THREADS, thread_name_prefix="call"),
            interceptors=[self._drain, PeerCheck(config)],
            maximum_concurrent_rpcs=MAX_QUEUED_CALLS,
            options=(
                (
                    "grpc.so_reuseport",
                    0,
                ),  # else two servers would share one port, each with half the calls
                ("grpc.max_connection_age_ms", MAX_CONNECTION_AGE_MS),
                ("grpc.max_connection_age_grace_ms", 30_000),
                ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
                ("grpc.max_send_message_length", MAX_RESPONSE_BYTES),
            ),
        )
        pb_grpc.add_VectorServiceServicer_to_server(  # type: ignore[no-untyped-call]  # generated
            VectorService(config, index), self._grpc
        )
        self._health = health.HealthServicer()
        self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._grpc)
        for address in (config.listen, f"unix:{config.socket}"):
            # A set of credentials each: gRPC hands the initial certificate to the first port only.
            store = CertificateStore(config)
            credentials = grpc.dynamic_ssl_server_credentials(
                store.initial,
                store.renewed,  # type: ignore[arg-type]  # None is documented as "no change"
                require_client_authentication=True,
            )
            try:
                self._grpc.add_secure_port(address, credentials)
            except RuntimeError as error:
                raise RuntimeError(
                    f"can't listen on {address}: {error}. Is the address in use, or does "
                    f"{config.private_key} not belong to {config.certificate}?"
                ) from error

    def start(self) -> None:
        """Answer calls; health stays NOT_SERVING until `set_serving`."""
        self._grpc.start()
        os.chmod(self._socket, 0o600)

    def set_serving(self) -> None:
        """Report SERVING from now on."""
        self._set_health(health_pb2.HealthCheckResponse.SERVING)

    def _set_health(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for service in ("", VECTOR_SERVICE):
            self._health.set(service, status)

    def stop(self) -> None:
        """Take no further calls, let running ones end for a few seconds, then cancel them."""
        self._health.enter_graceful_shutdown()
        self._drain.begin()
        self._grpc.stop(STOP_SECONDS).wait()
