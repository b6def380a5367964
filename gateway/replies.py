"""The answers that the gateway gives itself, in the shape and words that each caller understands.

An index answers errors as `{"code": <gRPC code>, "message", "details"}` over REST and as
grpc-status and grpc-message over gRPC; the control plane as `{"status", "error": {"code",
"message"}}`. Without this, Envoy answers in plain text and tells the world what went wrong in its
upstream connections.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from gateway.configuration import GatewaySettings

Json = dict[str, Any]

UPSTREAM_SECONDS = 60
"""How long an upstream may take to answer one request."""


@dataclass(frozen=True)
class Reply:
    """One kind of answer.

    Attributes:
        when: an Envoy access log filter that recognizes it.
        code: gRPC code and name.
        message: what the caller reads; None keeps what the filter that refused has said.
        status: HTTP status in place of Envoy's own.
        retry_after: seconds.
    """

    when: Json
    code: tuple[int, str]
    message: str | None = None
    status: int | None = None
    retry_after: int | None = None


INVALID_ARGUMENT = (3, "INVALID_ARGUMENT")
DEADLINE_EXCEEDED = (4, "DEADLINE_EXCEEDED")
NOT_FOUND = (5, "NOT_FOUND")
PERMISSION_DENIED = (7, "PERMISSION_DENIED")
RESOURCE_EXHAUSTED = (8, "RESOURCE_EXHAUSTED")
OUT_OF_RANGE = (11, "OUT_OF_RANGE")
INTERNAL = (13, "INTERNAL")
UNAVAILABLE = (14, "UNAVAILABLE")
UNAUTHENTICATED = (16, "UNAUTHENTICATED")

_CODES = {
    HTTPStatus.BAD_REQUEST: INVALID_ARGUMENT,
    HTTPStatus.UNAUTHORIZED: UNAUTHENTICATED,
    HTTPStatus.FORBIDDEN: PERMISSION_DENIED,
    HTTPStatus.NOT_FOUND: NOT_FOUND,
    HTTPStatus.REQUEST_TIMEOUT: DEADLINE_EXCEEDED,
    HTTPStatus.TOO_MANY_REQUESTS: RESOURCE_EXHAUSTED,
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: OUT_OF_RANGE,
    HTTPStatus.SERVICE_UNAVAILABLE: UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT: DEADLINE_EXCEEDED,
}


def local_reply_config(settings: GatewaySettings, *, index: bool, control: bool) -> Json:
    """`local_reply_config` of a listener for indexes, the control plane or (host mode) both."""
    mappers: list[Json] = []
    if index:
        for reply in _index_replies(settings):
            mappers += _index_mappers(reply, settings if control else None)
    if control:
        mixed = settings if index else None
        mappers += [_control_mapper(reply, mixed) for reply in _control_replies(settings)]
    return {"mappers": mappers}


def _index_replies(settings: GatewaySettings) -> list[Reply]:
    return [
        *_malformed_replies(),
        # The RBAC filter refuses what the Lua filter has neither let through nor refused.
        Reply(
            _all(_status(HTTPStatus.FORBIDDEN), _no_metadata("refused")),
            UNAVAILABLE,
            "The gateway can't check the API key at the moment, so nothing was let through."
            " Try again shortly.",
            status=HTTPStatus.SERVICE_UNAVAILABLE,
        ),
        Reply(
            _all(_status(HTTPStatus.TOO_MANY_REQUESTS), _no_metadata("refused")),
            RESOURCE_EXHAUSTED,
            f"The project sends more than {settings.project_rate} requests a second, its limit"
            " (TAMARACK_PROJECT_RATE). Wait a second, or put more vectors into each request.",
            retry_after=1,
        ),
        *_common_replies(settings, "The index server"),
        *(Reply(_status(status), code) for status, code in _CODES.items()),
        Reply(_status(HTTPStatus.BAD_REQUEST, "GE"), INTERNAL),
    ]


def _control_replies(settings: GatewaySettings) -> list[Reply]:
    return [
        *_malformed_replies(),
        Reply(
            _flags("NR"),
            NOT_FOUND,
            "Nothing answers under the host name of this request: use the address of the control"
            " plane, or the host that describe_index returns.",
        ),
        *_common_replies(settings, "The control plane"),
        *(Reply(_status(status), code) for status, code in _CODES.items()),
        Reply(_status(HTTPStatus.BAD_REQUEST, "GE"), INTERNAL),
    ]


def _malformed_replies() -> list[Reply]:
    """What is refused before any filter has seen it, as HTTP itself and not for what it asks."""
    upgrade = {"header_filter": {"header": {"name": "upgrade", "present_match": True}}}
    return [
        Reply(
            _all(_status(HTTPStatus.FORBIDDEN), upgrade, _no_metadata("refused")),
            INVALID_ARGUMENT,
            "No other protocol is spoken here, such as WebSocket: leave the Upgrade header out.",
            status=HTTPStatus.BAD_REQUEST,
        ),
        Reply(
            _all(_status(HTTPStatus.BAD_REQUEST), _no_metadata("protocol")),
            INVALID_ARGUMENT,
            "The request is malformed: its request line, a header or its framing breaks the rules"
            " of HTTP (RFC 9112, RFC 9113). Send it with an official client.",
        ),
        Reply(
            _all(_status(HTTPStatus.UPGRADE_REQUIRED), _no_metadata("protocol")),
            INVALID_ARGUMENT,
            "HTTP/1.0 and older are not spoken here: use HTTP/1.1 or HTTP/2.",
        ),
        Reply(
            _all(_status(HTTPStatus.NOT_IMPLEMENTED), _no_metadata("protocol")),
            INVALID_ARGUMENT,
            "The Transfer-Encoding is not known here: use chunked, or a Content-Length.",
        ),
    ]


def _common_replies(settings: GatewaySettings, upstream: str) -> list[Reply]:
    """Refusals and failures that both planes share; details of a failure are in the access log."""
    return [
        Reply(
            _status(HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
            OUT_OF_RANGE,
            f"The request is larger than {settings.max_request_bytes} bytes, the limit"
            " (TAMARACK_MAX_REQUEST_BYTES). Send it in smaller parts.",
        ),
        Reply(
            _flags("UT"),
            DEADLINE_EXCEEDED,
            f"{upstream} did not answer within {UPSTREAM_SECONDS} s.",
            status=HTTPStatus.GATEWAY_TIMEOUT,
        ),
        Reply(
            _flags("UF", "UH", "UO", "URX"),
            UNAVAILABLE,
            f"{upstream} can't be reached: it is starting, or has stopped. Try again shortly.",
            status=HTTPStatus.SERVICE_UNAVAILABLE,
        ),
        Reply(
            _flags("UC", "UR", "LR", "UPE"),
            UNAVAILABLE,
            f"The connection broke before {upstream[0].lower()}{upstream[1:]} had answered, so"
            " a change may or may not be in place. Check it, or send it again.",
            status=HTTPStatus.SERVICE_UNAVAILABLE,
        ),
    ]


def _index_mappers(reply: Reply, mixed: GatewaySettings | None) -> list[Json]:
    """A mapper for REST and, where the words are ours, one for gRPC.

    A REST call that the transcoder has taken over carries a gRPC content type from then on, so
    the Lua filter notes how it came in; what fails before that filter still has its own type.
    """
    here = [_authority(index_host_pattern(mixed))] if mixed else []
    rest = _any(
        _metadata("protocol", "rest"), _all(_no_metadata("protocol"), _grpc_type(invert=True))
    )
    mappers = [
        _mapper(
            reply,
            _all(reply.when, rest, *here),
            body_format_override={
                "json_format": {
                    "code": reply.code[0],
                    "message": "%LOCAL_REPLY_BODY%",
                    "details": [],
                },
                "content_type": "application/json",
            },
        )
    ]
    if reply.message is not None:
        headers = [_header("grpc-status", str(reply.code[0]))]
        mappers.append(_mapper(reply, _all(reply.when, *here) if here else reply.when, headers))
    return mappers


def _control_mapper(reply: Reply, mixed: GatewaySettings | None) -> Json:
    elsewhere = _authority(index_host_pattern(mixed), invert=True) if mixed else None
    return _mapper(
        reply,
        _all(reply.when, elsewhere) if elsewhere else reply.when,
        body_format_override={
            "json_format": {
                "status": "%RESPONSE_CODE%",
                "error": {"code": reply.code[1], "message": "%LOCAL_REPLY_BODY%"},
            },
            "content_type": "application/json",
        },
    )


def _mapper(reply: Reply, when: Json, headers: list[Json] | None = None, **fields: Any) -> Json:
    mapper: Json = {"filter": when, **fields}
    headers = list(headers or [])
    if reply.retry_after is not None:
        headers.append(_header("retry-after", str(reply.retry_after)))
    if headers:
        mapper["headers_to_add"] = headers
    if reply.message is not None:
        mapper["body"] = {"inline_string": reply.message}
    if reply.status is not None:
        mapper["status_code"] = int(reply.status)
    return mapper


def index_host_pattern(settings: GatewaySettings) -> str:
    """Regular expression (RE2) of the `:authority` of an index in host mode."""
    domain = settings.index_domain.replace(".", r"\.")
    return rf"(?i).+\.{domain}(:\d+)?"


def _header(name: str, value: str) -> Json:
    return {
        "header": {"key": name, "value": value},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }


def _all(*filters: Json) -> Json:
    return {"and_filter": {"filters": list(filters)}}


def _any(*filters: Json) -> Json:
    return {"or_filter": {"filters": list(filters)}}


def _status(status: HTTPStatus, comparison: str = "EQ") -> Json:
    # The key is mandatory, though nothing is ever overridden at run time.
    value = {"default_value": int(status), "runtime_key": "tamarack.never_set"}
    return {"status_code_filter": {"comparison": {"op": comparison, "value": value}}}


def _flags(*flags: str) -> Json:
    return {"response_flag_filter": {"flags": list(flags)}}


def _metadata(key: str, value: str) -> Json:
    """Dynamic metadata `tamarack.<key>` is there and equals `value`."""
    matcher = {
        "filter": "tamarack",
        "path": [{"key": key}],
        "value": {"string_match": {"exact": value}},
    }
    return {"metadata_filter": {"matcher": matcher, "match_if_key_not_found": False}}


def _no_metadata(key: str) -> Json:
    """Dynamic metadata `tamarack.<key>` is not there. (The filter ignores a matcher's `invert`.)"""
    filter_ = _metadata(key, "a value that is never set")
    filter_["metadata_filter"]["match_if_key_not_found"] = True
    return filter_


def _grpc_type(*, invert: bool) -> Json:
    match = {"safe_regex": {"regex": r"application/grpc(\+.*)?"}}
    return {
        "header_filter": {
            "header": {
                "name": "content-type",
                "string_match": match,
                "invert_match": invert,
                "treat_missing_header_as_empty": True,
            }
        }
    }


def _authority(pattern: str, *, invert: bool = False) -> Json:
    match = {"safe_regex": {"regex": pattern}}
    header = {"name": ":authority", "string_match": match, "invert_match": invert}
    return {"header_filter": {"header": header}}
