"""Where clients come in: TLS, the filters that every request passes, the access log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.configuration import GatewaySettings
from gateway.replies import UPSTREAM_SECONDS, index_host_pattern, local_reply_config
from gateway.upstreams import CIPHER_SUITES, CURVES, Json, secret, typed

DESCRIPTOR = Path(__file__).parents[1] / "protos" / "generated" / "vector_service.pb"
LUA = Path(__file__).parent / "lua" / "authorize.lua"

# 1,000 ids of 512 characters in one GET /vectors/fetch; Envoy's own limit would be 60.
MAX_HEADER_KB = 640
MAX_RESPONSE_BYTES = 64 * 1024 * 1024
_BUFFER_BYTES = 1 << 20

# What a client sends under these names would be taken for the gateway's own word.
_RESERVED_PREFIXES = ("x-tamarack-", "x-envoy-", "x-forwarded-")
_RESERVED_NAMES = ("forwarded", "x-real-ip")
# Paths that can hold one-time tokens.
_PATHS_NOT_LOGGED = ("/accounts/", "/invitations/", "/sso/", "/oauth/")

_FILTERS = "envoy.extensions.filters.http"
_INDEX_ONLY = (
    "envoy.filters.http.lua",
    "envoy.filters.http.rbac",
    "envoy.filters.http.set_filter_state",
    "envoy.filters.http.local_ratelimit",
    "envoy.filters.http.grpc_json_transcoder",
)
_CONTROL_ONLY = ("envoy.filters.http.buffer", "envoy.filters.http.header_to_metadata")


def listeners(settings: GatewaySettings) -> list[Json]:
    """Host mode: one listener, told apart by host name. Port mode: one for the control plane,
    one for all index ports, so that neither has a route to what the other serves.
    """
    if settings.addressing == "host":
        return [_listener(settings, "edge", [settings.public_port], index=True, control=True)]
    ports = list(settings.index_ports)
    return [
        _listener(settings, "control", [settings.public_port], index=False, control=True),
        _listener(settings, "index", ports, index=True, control=False),
    ]


def _listener(
    settings: GatewaySettings, name: str, ports: list[int], *, index: bool, control: bool
) -> Json:
    first, *more = ({"socket_address": _socket_address(settings.bind, port)} for port in ports)
    listener: Json = {
        "name": name,
        "address": first,
        "additional_addresses": [{"address": address} for address in more],
        # Otherwise a second gateway could share the port unnoticed in place of failing to start.
        "enable_reuse_port": False,
        "per_connection_buffer_limit_bytes": _BUFFER_BYTES,
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": _connection_manager(
                            settings, name, index=index, control=control
                        ),
                    }
                ],
                "transport_socket": _downstream_tls(settings),
                "transport_socket_connect_timeout": "10s",
            }
        ],
    }
    return listener


def _socket_address(bind: str, port: int) -> Json:
    address: Json = {"address": bind, "port_value": port}
    return address | {"ipv4_compat": True} if bind == "::" else address


def _downstream_tls(settings: GatewaySettings) -> Json:
    newest = {"1.2": "TLSv1_2", "1.3": "TLSv1_3"}[settings.tls_max]
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": typed(
            "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            common_tls_context={
                "tls_params": {
                    "tls_minimum_protocol_version": "TLSv1_2",
                    "tls_maximum_protocol_version": newest,
                    "cipher_suites": CIPHER_SUITES,
                    "ecdh_curves": CURVES,
                },
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_certificate_sds_secret_configs": [
                    secret("edge-ecdsa", settings.envoy),
                    secret("edge-rsa", settings.envoy),
                ],
            },
        ),
    }


def _connection_manager(
    settings: GatewaySettings, name: str, *, index: bool, control: bool
) -> Json:
    hosts: list[Json] = []
    if index:
        domains = [f"*.{settings.index_domain}"] if control else ["*"]
        hosts.append(_index_host(domains))
    if control:
        hosts.append(_control_host(settings, ["*"] if not index else _control_domains(settings)))
    return typed(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=name,
        codec_type="AUTO",
        server_name="tamarack",
        use_remote_address=True,
        # Envoy would name its own address where the client's is a loopback address.
        skip_xff_append=True,
        # Paths reach their upstream as they came: a namespace may be called `..` or hold a slash,
        # and the table of the Lua filter knows exact paths only.
        normalize_path=False,
        merge_slashes=False,
        path_with_escaped_slashes_action="KEEP_UNCHANGED",
        max_request_headers_kb=MAX_HEADER_KB,
        common_http_protocol_options={
            "headers_with_underscores_action": "DROP_HEADER",
            "idle_timeout": "300s",
            "max_headers_count": 100,
        },
        http2_protocol_options={
            "max_concurrent_streams": 128,
            "initial_stream_window_size": _BUFFER_BYTES,
            "initial_connection_window_size": 4 * _BUFFER_BYTES,
        },
        request_headers_timeout="10s",
        request_timeout="120s",
        stream_idle_timeout="90s",
        always_set_request_id_in_response=True,
        early_header_mutation_extensions=[
            {
                "name": "envoy.http.early_header_mutation.header_mutation",
                "typed_config": typed(
                    "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
                    mutations=[
                        *(
                            {"remove_on_match": {"key_matcher": {"prefix": prefix}}}
                            for prefix in _RESERVED_PREFIXES
                        ),
                        *({"remove": name} for name in _RESERVED_NAMES),
                    ],
                ),
            }
        ],
        local_reply_config=local_reply_config(settings, index=index, control=control),
        http_filters=_http_filters(settings),
        route_config={
            "name": name,
            # The port stays in the header: Django compares it with the Origin of a form.
            "ignore_port_in_host_matching": True,
            "virtual_hosts": hosts,
        },
        access_log=_access_logs(settings, index=index, control=control),
    )


def _control_domains(settings: GatewaySettings) -> list[str]:
    names = {settings.public_host, f"api.{settings.public_host}", "localhost", "127.0.0.1", "[::1]"}
    return sorted(names)


def _without(filters: Sequence[str]) -> Json:
    """What takes these filters out of a virtual host."""
    return dict.fromkeys(filters, typed("envoy.config.route.v3.FilterConfig", disabled=True))


def _index_host(domains: list[str]) -> Json:
    return {
        "name": "index",
        "domains": domains,
        # The transcoder keeps a REST call's path here, and an index server takes 8 KB of metadata.
        "request_headers_to_remove": [
            "api-key",
            "x-envoy-original-path",
            "x-envoy-original-method",
            "x-envoy-external-address",
        ],
        "response_headers_to_add": [_set_header("x-pinecone-request-id", "%REQ(X-REQUEST-ID)%")],
        "routes": [
            {
                "name": "index",
                "match": {"prefix": "/"},
                "route": {
                    "cluster": "index",
                    "timeout": f"{UPSTREAM_SECONDS}s",
                    # Only what no server has seen is sent again; long enough for a restart.
                    "retry_policy": _retry("connect-failure,refused-stream"),
                },
            }
        ],
        "typed_per_filter_config": _without(_CONTROL_ONLY),
    }


def _control_host(settings: GatewaySettings, domains: list[str]) -> Json:
    host: Json = {
        "name": "control",
        "domains": domains,
        "routes": [
            {
                "name": "control",
                "match": {"prefix": "/"},
                "route": {
                    "cluster": "django",
                    "timeout": f"{UPSTREAM_SECONDS}s",
                    "retry_policy": _retry("connect-failure"),
                },
            }
        ],
        "typed_per_filter_config": _without(_INDEX_ONLY),
        "request_headers_to_add": [
            _set_header("x-forwarded-for", "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%")
        ],
    }
    name = "strict-transport-security"
    if settings.has_public_name:
        host["response_headers_to_add"] = [_set_header(name, "max-age=31536000")]
    else:
        # A browser would apply it to everything else that a developer serves on localhost.
        host["response_headers_to_remove"] = [name]
    return host


def _retry(on: str) -> Json:
    back_off = {"base_interval": "0.1s", "max_interval": "0.5s"}
    return {"retry_on": on, "num_retries": 3, "retry_back_off": back_off}


def _set_header(name: str, value: str) -> Json:
    return {
        "header": {"key": name, "value": value},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }


def lua_source(settings: GatewaySettings) -> str:
    """The Lua filter with this installation's trust domain."""
    return f'local TRUST_DOMAIN = "{settings.trust_domain}"\n{LUA.read_text()}'


def _http_filters(settings: GatewaySettings) -> list[Json]:
    """In this order: who and where, whose certificate, refuse without, rate, size, REST to gRPC,
    the key's name for the log, whole bodies.
    """
    return [
        _filter("lua", "lua.v3.Lua", default_source_code={"inline_string": lua_source(settings)}),
        _filter(
            "set_filter_state",
            "set_filter_state.v3.Config",
            on_request_headers=[
                {
                    "object_key": "envoy.network.upstream_subject_alt_names",
                    "factory_key": "envoy.network.upstream_subject_alt_names",
                    "format_string": {
                        "text_format_source": {
                            "inline_string": "%DYNAMIC_METADATA(tamarack:identity)%"
                        }
                    },
                    "shared_with_upstream": "ONCE",
                }
            ],
        ),
        # An error in the Lua filter lets a request go on; without an address it ends here.
        _filter("rbac", "rbac.v3.RBAC", rules={"action": "ALLOW", "policies": _only_authorized()}),
        _filter("local_ratelimit", "local_ratelimit.v3.LocalRateLimit", **_rate_limit(settings)),
        _filter(
            "body_size_limit",
            "body_size_limit.v3.BodySizeLimit",
            max_request_bytes=settings.max_request_bytes,
        ),
        _filter(
            "grpc_json_transcoder",
            "grpc_json_transcoder.v3.GrpcJsonTranscoder",
            proto_descriptor=str(DESCRIPTOR),
            services=["VectorService"],
            convert_grpc_status=True,
            query_param_unescape_plus=True,
            auto_mapping=False,
            # The official client does not decode an answer that leaves zeros out.
            print_options={"always_print_primitive_fields": True},
            request_validation_options={
                "reject_unknown_method": True,
                "reject_unknown_query_parameters": True,
            },
            max_request_body_size=settings.max_request_bytes,
            max_response_body_size=MAX_RESPONSE_BYTES,
        ),
        # The control plane names the key that called; the access log gets it, the client doesn't.
        _filter(
            "header_to_metadata",
            "header_to_metadata.v3.Config",
            response_rules=[
                {
                    "header": f"x-tamarack-{name}",
                    "on_header_present": {"metadata_namespace": "tamarack", "key": name},
                    "remove": True,
                }
                for name in ("key", "secret")
            ],
        ),
        # Django answers few requests at a time; none of them waits for a body that drips in.
        _filter("buffer", "buffer.v3.Buffer", max_request_bytes=settings.max_request_bytes),
        _filter("router", "router.v3.Router", suppress_envoy_headers=True),
    ]


def _filter(name: str, type_name: str, **fields: Any) -> Json:
    return {
        "name": f"envoy.filters.http.{name}",
        "typed_config": typed(f"{_FILTERS}.{type_name}", **fields),
    }


def _only_authorized() -> Json:
    principal = {
        "sourced_metadata": {
            "metadata_matcher": {
                "filter": "tamarack",
                "path": [{"key": "address"}],
                "value": {"present_match": True},
            },
            "metadata_source": "DYNAMIC",
        }
    }
    return {"authorized": {"permissions": [{"any": True}], "principals": [principal]}}


def _rate_limit(settings: GatewaySettings) -> Json:
    """A bucket per project, made when the project first calls; kept by this process alone."""

    def bucket(tokens: int) -> Json:
        return {"max_tokens": tokens, "tokens_per_fill": tokens, "fill_interval": "1s"}

    always = {"default_value": {"numerator": 100}}
    project = {
        "request_headers": {"header_name": "x-tamarack-project", "descriptor_key": "project"}
    }
    return {
        "stat_prefix": "project",
        # Mandatory, for requests of no project: there are none behind the RBAC filter.
        "token_bucket": bucket(1_000_000),
        "filter_enabled": always,
        "filter_enforced": always,
        "max_dynamic_descriptors": 10_000,
        "rate_limited_as_resource_exhausted": True,
        "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
        "rate_limits": [{"actions": [project]}],
        "descriptors": [
            {"entries": [{"key": "project"}], "token_bucket": bucket(settings.project_rate)}
        ],
    }


def _access_logs(settings: GatewaySettings, *, index: bool, control: bool) -> list[Json]:
    """Never a query string, a key or a header of the client's but its user agent.

    Of an index call only the method is written, not the path: it may hold a namespace's name, or
    after a typing error a vector's id.
    """
    common = {
        "time": "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%",
        "request_id": "%REQ(X-REQUEST-ID)%",
        "host": "%REQ(:AUTHORITY)%",
        "status": "%RESPONSE_CODE%",
        "flags": "%RESPONSE_FLAGS%",
        "detail": "%RESPONSE_CODE_DETAILS%",
        "bytes_in": "%BYTES_RECEIVED%",
        "bytes_out": "%BYTES_SENT%",
        "ms": "%DURATION%",
        "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "user_agent": "%REQ(USER-AGENT):200%",
        "key": "%DYNAMIC_METADATA(tamarack:key)%",
        "secret": "%DYNAMIC_METADATA(tamarack:secret)%",
        "tls": "%DOWNSTREAM_TLS_VERSION%",
        "cipher": "%DOWNSTREAM_TLS_CIPHER%",
    }
    logs: list[Json] = []
    on_index, on_control = _host_filters(settings, index=index, control=control)
    if index:
        fields = common | {
            "plane": "index",
            "rpc": "%DYNAMIC_METADATA(tamarack:rpc)%",
            "protocol": "%DYNAMIC_METADATA(tamarack:protocol)%",
            "grpc_status": "%GRPC_STATUS_NUMBER%",
            "index": "%REQ(X-TAMARACK-INDEX)%",
            "project": "%REQ(X-TAMARACK-PROJECT)%",
            "deployment": "%REQ(X-TAMARACK-DEPLOYMENT)%",
            "upstream": "%UPSTREAM_HOST%",
        }
        logs.append(_access_log(settings, fields, on_index))
    if control:
        fields = common | {"plane": "control", "http_method": "%REQ(:METHOD)%"}
        tokens = "|".join(_PATHS_NOT_LOGGED)
        logs.append(_access_log(settings, fields, [*on_control, _path_filter(tokens)]))
        fields = fields | {"path": "%PATH(NQ:PATH)%"}
        logs.append(_access_log(settings, fields, [*on_control, _path_filter(tokens, invert=True)]))
    return logs


def _host_filters(
    settings: GatewaySettings, *, index: bool, control: bool
) -> tuple[list[Json], list[Json]]:
    if not (index and control):
        return [], []
    match = {"safe_regex": {"regex": index_host_pattern(settings)}}
    header = {"name": ":authority", "string_match": match}
    return (
        [{"header_filter": {"header": header}}],
        [{"header_filter": {"header": header | {"invert_match": True}}}],
    )


def _path_filter(prefixes: str, *, invert: bool = False) -> Json:
    match = {"safe_regex": {"regex": f"({prefixes}).*"}}
    return {
        "header_filter": {
            "header": {"name": ":path", "string_match": match, "invert_match": invert}
        }
    }


def _access_log(settings: GatewaySettings, fields: Json, filters: list[Json]) -> Json:
    log: Json = {
        "name": "envoy.access_loggers.file",
        "typed_config": typed(
            "envoy.extensions.access_loggers.file.v3.FileAccessLog",
            path=str(settings.access_log),
            log_format={"json_format": fields},
        ),
    }
    if len(filters) == 1:
        log["filter"] = filters[0]
    elif filters:
        log["filter"] = {"and_filter": {"filters": filters}}
    return log
