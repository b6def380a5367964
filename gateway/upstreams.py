"""Whom the gateway speaks to: index servers by mutual TLS, two programs by unix sockets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gateway.configuration import GatewaySettings

Json = dict[str, Any]

# AES-256 alone. TLS 1.3 would add AES-128 and ChaCha20 suites, which Envoy cannot take away.
CIPHER_SUITES = ["ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384"]
CURVES = ["X25519", "P-256", "P-384"]

_TLS = "envoy.extensions.transport_sockets.tls.v3"
_HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
# uvicorn closes an idle connection after 5 s; the one that asks has to be the first to close.
_AUTHORIZER_IDLE = "3s"
_DJANGO_IDLE = "10s"


def typed(type_name: str, /, **fields: Any) -> Json:
    """A `google.protobuf.Any` in JSON."""
    return {"@type": f"type.googleapis.com/{type_name}", **fields}


def clusters(settings: GatewaySettings) -> list[Json]:
    """`index`, `authorizer` and `django`."""
    return [
        _index_cluster(settings),
        _socket_cluster("authorizer", settings.authorizer_socket, _AUTHORIZER_IDLE),
        _socket_cluster("django", settings.django_socket, _DJANGO_IDLE),
    ]


def secret(name: str, folder: Path) -> Json:
    """A certificate, or the trust bundle, from a file that Envoy watches (see `secrets`)."""
    return {
        "name": name,
        "sds_config": {
            "resource_api_version": "V3",
            "path_config_source": {"path": str(folder / f"{name}.json")},
        },
    }


def secrets(settings: GatewaySettings) -> dict[str, Json]:
    """Content of the secret files by name: where the PEM files lie.

    The folder is watched for renames, so a pair that `kms.certificates.write_pair` replaces is
    used for the next handshake; established connections go on.
    """
    watched = {"path": str(settings.certs)}
    contents: dict[str, Json] = {
        name: {
            "tls_certificate": {
                "certificate_chain": {"filename": str(settings.certs / f"{name}.crt")},
                "private_key": {"filename": str(settings.certs / f"{name}.key")},
                "watched_directory": watched,
            }
        }
        for name in ("edge-ecdsa", "edge-rsa", "gateway")
    }
    contents["trust"] = {
        "validation_context": {
            "trusted_ca": {"filename": str(settings.certs / "ca.pem")},
            "watched_directory": watched,
        }
    }
    return {
        name: {"resources": [typed(f"{_TLS}.Secret", name=name, **content)]}
        for name, content in contents.items()
    }


def _index_cluster(settings: GatewaySettings) -> Json:
    """Every index server: the address comes from the request's metadata, and so does its identity.

    `set_filter_state` adds to the rule below the SPIFFE id of the index that the request is for; a
    certificate has to satisfy both. Connections are shared only among requests for that index.
    """
    any_index = {"prefix": f"spiffe://{settings.trust_domain}/org/"}
    return {
        "name": "index",
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": "1s",
        "cleanup_interval": "60s",
        "original_dst_lb_config": {
            "metadata_key": {"key": "tamarack", "path": [{"key": "address"}]}
        },
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": 8192,
                    "max_pending_requests": 8192,
                    "max_requests": 8192,
                    "max_retries": 256,
                }
            ]
        },
        "typed_extension_protocol_options": {
            _HTTP: typed(
                _HTTP,
                # A certificate is looked at in the handshake only, so no connection may outlive it.
                common_http_protocol_options={
                    "idle_timeout": "300s",
                    "max_connection_duration": "3600s",
                },
                explicit_http_config={
                    "http2_protocol_options": {
                        "initial_stream_window_size": 1 << 20,
                        "initial_connection_window_size": 4 << 20,
                    }
                },
            )
        },
        "transport_socket": {
            "name": "envoy.transport_sockets.tls",
            "typed_config": typed(
                f"{_TLS}.UpstreamTlsContext",
                common_tls_context={
                    "tls_params": {
                        "tls_minimum_protocol_version": "TLSv1_2",
                        "tls_maximum_protocol_version": "TLSv1_2",
                        "cipher_suites": CIPHER_SUITES,
                        "ecdh_curves": CURVES,
                    },
                    "tls_certificate_sds_secret_configs": [secret("gateway", settings.envoy)],
                    "combined_validation_context": {
                        "default_validation_context": {
                            "match_typed_subject_alt_names": [
                                {"san_type": "URI", "matcher": any_index}
                            ]
                        },
                        "validation_context_sds_secret_config": secret("trust", settings.envoy),
                    },
                },
            ),
        },
    }


def _socket_cluster(name: str, path: Path, idle: str) -> Json:
    address = {"pipe": {"path": str(path)}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "0.25s",
        "typed_extension_protocol_options": {
            _HTTP: typed(
                _HTTP,
                common_http_protocol_options={"idle_timeout": idle},
                explicit_http_config={"http_protocol_options": {}},
            )
        },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }
