"""Who may call what: the caller's SPIFFE id from its certificate, and for the gateway the grants it
has established.

The gateway has authorized the API key already; this is the second, independent check, so that
neither a mistake in its routing nor another holder of a certificate reaches an index that is not
theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

import grpc
from google.protobuf.message import DecodeError

from dataplane.config import Config
from dataplane.errors import Refusal, denied, shown
from dataplane.values import DEFAULT_NAMESPACE

DEPLOYMENT_HEADER: Final = "x-tamarack-deployment"
GRANTS_HEADER: Final = "x-tamarack-grants"
NAMESPACES_HEADER: Final = "x-tamarack-namespaces"
PROTOCOL_HEADER: Final = "x-tamarack-protocol"

SERVICE: Final = "/VectorService/"
NEEDED: Final[Mapping[str, str]] = {
    "Upsert": "w",
    "Update": "w",
    "Delete": "w",
    "CreateNamespace": "w",
    "DeleteNamespace": "w",
    "Query": "r",
    "Fetch": "r",
    "FetchByMetadata": "r",
    "List": "r",
    "DescribeIndexStats": "r",
    "ListNamespaces": "r",
    "DescribeNamespace": "r",
}
"""The grant that each method of `VectorService` needs; a method not listed is refused."""
PROBE_METHODS: Final = frozenset(
    {"/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch", f"{SERVICE}DescribeIndexStats"}
)
"""What the control plane and its nodes may call."""
UNDECODABLE: Final = (
    "The request can't be decoded: it is not the method's protobuf message, or nested too deep "
    "(filters: 16 levels). Send it with an official client."
)


@dataclass(frozen=True, slots=True)
class Scope:
    """What the API key behind a call is limited to, and how the call came.

    Attributes:
        namespaces: None: all of them.
        is_rest: whether the gateway made it of a REST call.
    """

    namespaces: frozenset[str] | None
    is_rest: bool = False

    def check(self, namespace: str) -> None:
        """Refuse a namespace outside the scope (`namespace` as stored, never empty).

        Raises:
            Refusal: PERMISSION_DENIED.
        """
        if self.namespaces is not None and namespace not in self.namespaces:
            raise denied(
                f"This API key may not use namespace {shown(namespace)}; use one it is limited to,"
                " or another key."
            )


_scope: ContextVar[Scope] = ContextVar("scope")


def current_scope() -> Scope:
    """The scope of the call being answered."""
    return _scope.get()


class PeerCheck(grpc.ServerInterceptor):
    """Runs before every method; one that it doesn't let through never starts."""

    def __init__(self, config: Config) -> None:
        """`config` names this deployment and the trust domain that callers must belong to."""
        root = f"spiffe://{config.trust_domain}"
        self._gateway = f"{root}/gateway"
        self._control_plane = f"{root}/control-plane"
        self._nodes = f"{root}/node/"
        self._deployment = config.deployment_id

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wrap the method's handler in the check."""
        handler = continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return None  # unknown; or Health.Watch, which would hold one of our few threads
        inner: Callable[..., Any] = handler.unary_unary
        method: str = handler_call_details.method
        metadata = dict(handler_call_details.invocation_metadata)
        decode = handler.request_deserializer or bytes

        def checked(request: bytes, context: grpc.ServicerContext) -> Any:
            try:
                scope = self._authorize(method, metadata, context)
            except Refusal as refusal:
                context.abort(refusal.code, refusal.message)
            try:
                decoded = decode(request)
            except DecodeError:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, UNDECODABLE)
            token = _scope.set(scope)
            try:
                return inner(decoded, context)
            finally:
                _scope.reset(token)

        return grpc.unary_unary_rpc_method_handler(
            checked,
            request_deserializer=None,  # gRPC would call a message that can't be decoded our fault
            response_serializer=handler.response_serializer,
        )

    def _authorize(
        self, method: str, metadata: Mapping[str, str | bytes], context: grpc.ServicerContext
    ) -> Scope:
        peer = spiffe_id(context)
        if peer == self._control_plane or peer.startswith(self._nodes):
            if method not in PROBE_METHODS:
                raise denied(f"{peer} may only probe this index server, not call {method}.")
            return Scope(None)
        if peer != self._gateway:
            raise denied(
                f"{peer or 'A caller without a SPIFFE id'} may not call this index server."
            )
        return self._grants(method, metadata)

    def _grants(self, method: str, metadata: Mapping[str, str | bytes]) -> Scope:
        deployment = metadata.get(DEPLOYMENT_HEADER)
        if deployment != self._deployment:
            raise denied(
                f"This is not deployment {shown(deployment)}; the gateway's routing is out of date."
            )
        needed = NEEDED.get(method.removeprefix(SERVICE)) if method.startswith(SERVICE) else None
        if needed is None:
            raise denied(f"{method} is not a method that the gateway may call.")
        if needed not in str(metadata.get(GRANTS_HEADER, "")):
            need = "read" if needed == "r" else "write"
            raise denied(
                f"This API key may not {need} vectors, which {method} needs; use a key with that"
                " role."
            )
        is_rest = metadata.get(PROTOCOL_HEADER) == "rest"
        namespaces = metadata.get(NAMESPACES_HEADER)
        if namespaces is None:
            return Scope(None, is_rest)
        names = (unquote(name) for name in str(namespaces).split(","))
        return Scope(frozenset(name or DEFAULT_NAMESPACE for name in names), is_rest)


def spiffe_id(context: grpc.ServicerContext) -> str:
    """The caller's SPIFFE id; empty where its certificate has none or more than one."""
    properties: Mapping[str, Any] = context.auth_context()  # sequences of bytes, whatever stubs say
    found = properties.get("peer_spiffe_id", ())
    return found[0].decode() if len(found) == 1 else ""
