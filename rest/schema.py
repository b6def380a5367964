"""What the OpenAPI document says of every operation without being told each time."""

from __future__ import annotations

from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from rest.pagination import DEFAULT_LIMIT, LIMIT, MAX_LIMIT, TOKEN
from rest.serializers import Input

ERRORS = {
    400: "A value breaks its rule; the message names it.",
    401: "No valid credential.",
    402: "The organization has to settle its account first.",
    403: "The caller lacks the permission, a quota is full, or the plan does not include it.",
    404: "There is no such object, or none that the caller may see.",
    409: "It exists already, or something that must stay would be lost.",
    412: "The object's state or version does not allow it.",
    413: "The body is too large.",
    415: "The body is not application/json.",
    422: "The body is not JSON, or the Idempotency-Key was used for another request.",
    429: "A rate limit is reached; `Retry-After` says when to come back.",
    500: "The control plane failed; the request id finds the cause in its log.",
    503: "A part that is needed does not answer; try again later.",
}
ALWAYS = (401, 403, 429, 500, 503)
WITH_BODY = (400, 413, 415, 422)


class ErrorDetail(serializers.Serializer[Any]):
    """What went wrong: a code for programs, a sentence for people."""

    code = serializers.CharField()
    message = serializers.CharField()
    details = serializers.DictField(required=False)


class ErrorBody(serializers.Serializer[Any]):
    """The body of every refusal."""

    status = serializers.IntegerField()
    error = ErrorDetail()


class Pagination(serializers.Serializer[Any]):
    """Where the list goes on."""

    next = serializers.CharField(help_text="To be sent as `paginationToken`.")


def errors(*statuses: int) -> dict[int, OpenApiResponse]:
    """The refusals with these status codes, for `extend_schema(responses=…)`."""
    return {status: OpenApiResponse(ErrorBody, ERRORS[status]) for status in statuses}


def page_of(output: type[serializers.Serializer[Any]]) -> type[serializers.Serializer[Any]]:
    """The answer of `AdminView.page` with elements of `output`."""
    name = f"{output.__name__.removesuffix('Serializer')}List"
    fields = {
        "__doc__": "One page of a list; `pagination` is null on the last one.",
        "data": output(many=True),
        "pagination": Pagination(allow_null=True),
    }
    return type(name, (serializers.Serializer,), fields)


PAGING = (
    OpenApiParameter(
        LIMIT,
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
        description="How many elements a page has.",
    ),
    OpenApiParameter(
        TOKEN,
        OpenApiTypes.STR,
        description="`pagination.next` of the page before, with the same filters and limit.",
    ),
)
"""Query parameters of every list, for `extend_schema(parameters=[*PAGING, …])`."""
DRY_RUN = OpenApiParameter(
    "dry_run",
    OpenApiTypes.BOOL,
    description="`true`: change nothing, say what would happen.",
)
IF_MATCH = OpenApiParameter(
    "If-Match",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="The `ETag` that the caller saw last; 412 if the object has changed since.",
)
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    OpenApiParameter.HEADER,
    description="Repeating a request with the same key within ten minutes gives the first answer"
    " again.",
)


class Schema(AutoSchema):
    """Adds what every operation has in common: refusals, `Idempotency-Key`, closed inputs."""

    def get_override_parameters(self) -> list[Any]:
        """The view's own, and the idempotency key of every POST that honours one."""
        common = list(getattr(self.view, "common_parameters", ()))
        if self.method == "POST" and getattr(self.view, "is_idempotent", False):
            common.append(IDEMPOTENCY_KEY)
        return [*super().get_override_parameters(), *common]

    def get_tags(self) -> list[str]:
        """What the path is about: its first part besides `admin`."""
        parts = [part for part in self._tokenize_path() if part != "admin"]
        return parts[:1]

    def get_serializer_name(self, serializer: Any, direction: Any) -> str:
        """Inputs are named apart from what is answered: `Retention` is `RetentionInput`."""
        name = str(super().get_serializer_name(serializer, direction))
        return f"{name.removesuffix('Input')}Input" if isinstance(serializer, Input) else name

    def _get_response_bodies(self, direction: Any = "response") -> dict[str, Any]:
        found: dict[str, Any] = super()._get_response_bodies(direction)
        statuses = [*ALWAYS]
        statuses += getattr(self.view, "common_errors", ())
        if self.method in {"POST", "PATCH", "PUT"}:
            statuses += WITH_BODY
        if "{" in self.path:
            statuses.append(404)
        if self.method == "POST" and getattr(self.view, "is_idempotent", False):
            statuses.append(409)
        for status, answer in errors(*statuses).items():
            if str(status) not in found:
                found[str(status)] = self._get_response_for_code(  # type: ignore[no-untyped-call]
                    answer, str(status), None, direction
                )
        return dict(sorted(found.items()))

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> Any:
        schema = super()._map_basic_serializer(serializer, direction)  # type: ignore[no-untyped-call]
        if isinstance(serializer, Input):
            schema["additionalProperties"] = False
        return schema
