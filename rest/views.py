"""The base of every view of the Admin API: what goes in is checked, what goes out has one form."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Protocol, cast

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpResponse
from django.utils.module_loading import import_string
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException, NotAuthenticated
from rest_framework.parsers import BaseParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from rest import idempotency
from rest.errors import InvalidArgument, PreconditionFailed, TooManyRequests
from rest.limits import WINDOW_SECONDS, Budget, take
from rest.pagination import LIMIT, TOKEN, limit_from, paginate
from rest.parsers import MAX_BODY_BYTES, StrictJSONParser, too_large
from rest.schema import Schema
from rest.serializers import Input, checked, query_fields
from rest.wording import shown

DRY_RUN = "dry_run"
_RESERVED = (LIMIT, TOKEN, DRY_RUN)
_ETAG = re.compile(r'(?:W/)?"([!\x23-\x7e]*)"')
NO_CREDENTIAL = (
    "No credential: send Authorization: Bearer <token> with a token from POST /oauth/token, or sign"
    " in."
)

KEPT_HEADERS = ("ETag", "Location")
ORGANIZATION_HEADER = "Tamarack-Organization"

Render = Callable[[Sequence[Any]], list[dict[str, Any]]]
Handler = Callable[..., HttpResponse]


class Caller(Protocol):
    """What authentication tells about who calls."""

    @property
    def kind(self) -> str: ...
    @property
    def id(self) -> str: ...


class Principal(Protocol):
    """What authentication puts on the request as `user`."""

    actor: Caller


class IdempotentView(APIView):
    """A view whose POST can be repeated with an `Idempotency-Key`.

    With the key the handler runs in one transaction with the answer that is kept.
    """

    parser_classes: tuple[type[BaseParser], ...] = (StrictJSONParser,)
    schema = Schema()
    is_idempotent: ClassVar[bool] = True

    @property
    def caller(self) -> Caller:
        """Who asks."""
        return cast("Principal", self.request.user).actor

    @property
    def scope(self) -> str:
        """Who asks, in which organization: cursors and idempotency keys are good for that only."""
        caller = self.caller
        return f"{caller.kind}:{caller.id}:{self.request.headers.get(ORGANIZATION_HEADER, '')}"

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """As everywhere; then a POST with an idempotency key gets its handler wrapped.

        Raises:
            InvalidArgument: the key is malformed.
            PayloadTooLarge: the body is larger than any that is read here.
        """
        key = request.headers.get("Idempotency-Key")
        handler = getattr(self, "post", None)
        if key is None or handler is None or request.method != "POST" or not self.is_idempotent:
            super().initial(request, *args, **kwargs)
            return
        idempotency.check_key(key)
        if int(request.META.get("CONTENT_LENGTH") or 0) > MAX_BODY_BYTES:
            raise too_large()
        # Before anybody parses it (the CSRF check does): what is parsed can't be had again.
        essence = b"\0".join((request.META.get("QUERY_STRING", "").encode(), request.body))
        super().initial(request, *args, **kwargs)
        vars(self)["post"] = partial(self._post_once, key, essence, handler)

    def _post_once(
        self,
        key: str,
        essence: bytes,
        handler: Handler,
        request: Request,
        *args: Any,
        **kwargs: Any,
    ) -> HttpResponse:
        """The handler's answer, or the one that it gave before."""
        with transaction.atomic():
            reply = idempotency.claim(
                scope=f"{self.scope}:{request.path}", request=essence, key=key
            )
            if reply.status:
                return self._replay(idempotency.recall(reply))
            response = handler(request, *args, **kwargs)
            headers = {name: response[name] for name in KEPT_HEADERS if name in response}
            body = _content(response)
            idempotency.keep(reply, idempotency.Answer(response.status_code, body, headers))
        return response

    def _replay(self, answer: idempotency.Answer) -> HttpResponse:
        response = HttpResponse(answer.body, status=answer.status, headers=answer.headers)
        response["Content-Type"] = "application/json"
        response["Idempotency-Replayed"] = "true"
        return response


class AdminView(IdempotentView):
    """A view of the Admin API. Subclasses write `get`, `post`, `patch`, `delete`."""

    http_method_names = ("get", "head", "post", "patch", "put", "delete")
    budget: Budget | None = None

    def get_authenticators(self) -> list[BaseAuthentication]:
        """Those of the setting: this room can't know the rooms above it."""
        return [import_string(name)() for name in settings.TAMARACK_ADMIN_AUTHENTICATION]

    def permission_denied(
        self, request: Request, message: str | None = None, code: str | None = None
    ) -> Any:
        """Only the missing credential is refused here; what may be done the services decide."""
        raise NotAuthenticated(NO_CREDENTIAL)

    def check_throttles(self, request: Request) -> None:
        """Count the request; REST framework asks after it knows who calls.

        Raises:
            TooManyRequests: the caller's quota is used up.
        """
        self._spend("caller", f"{self.caller.kind}:{self.caller.id}")

    def perform_authentication(self, request: Request) -> None:
        """Refused credentials are counted too, by the address that they come from.

        Raises:
            TooManyRequests: too many from there.
        """
        try:
            super().perform_authentication(request)
            if request.user is None:
                raise NotAuthenticated(NO_CREDENTIAL)
        except APIException:
            self._spend("address", self.address)
            raise

    @property
    def address(self) -> str:
        """Where the request comes from."""
        return str(self.request.META.get("REMOTE_ADDR", ""))

    def _spend(self, policy: str, name: str) -> None:
        self.budget = take(policy, name)
        if self.budget and not self.budget.taken:
            raise TooManyRequests(
                f"{self.budget.quota} requests in {WINDOW_SECONDS} seconds are used up. Wait"
                f" {self.budget.retry_after} s, then go on more slowly.",
                retry_after=self.budget.retry_after,
            )

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """As everywhere, and no cache keeps it: answers hold secrets and what only some may see."""
        answer = super().finalize_response(request, response, *args, **kwargs)
        answer["Cache-Control"] = "no-store"
        for name, value in self.budget.headers.items() if self.budget else ():
            answer[name] = value
        return answer

    def body(self, form: type[Input]) -> dict[str, Any]:
        """The request body as `form` reads it.

        Raises:
            InvalidArgument: it has another form; the message names field, value and rule.
        """
        return checked(form, self.request.data, where="The body")

    def query(self, form: type[Input]) -> dict[str, Any]:
        """The query string as `form` reads it, without `limit`, `paginationToken` and `dry_run`.

        Raises:
            InvalidArgument: as for `body`.
        """
        fields = query_fields(form, self.request.query_params, without=_RESERVED)
        return checked(form, fields, where="The query string")

    @property
    def dry_run(self) -> bool:
        """Whether the caller wants to know only what would happen: `?dry_run=true`.

        Raises:
            InvalidArgument: neither true nor false.
        """
        text = self.request.query_params.get(DRY_RUN, "false")
        if text not in {"true", "false"}:
            raise InvalidArgument(f"dry_run {shown(text)} is not known: use true or false.")
        return text == "true"

    def page(
        self,
        queryset: QuerySet[Any],
        output: type[Serializer[Any]] | Render,
        order: Sequence[str] = ("created_at", "id"),
    ) -> Response:
        """One page as `{"data": […], "pagination": {"next": token} | null}`.

        Args:
            output: a serializer of one row, or a function from the page's rows to their JSON
                objects, which can look things up for all of them at once.
            order: fields to sort by, `-` for descending; none of them null, the last one unique.

        Raises:
            OutOfRange: `limit` is not in 1 to 100.
            InvalidArgument: `paginationToken` was not given out for this list.
        """
        query = self.request.query_params
        limit = limit_from(query.get(LIMIT))
        filters = sorted((name, query.getlist(name)) for name in query if name not in {TOKEN})
        scope = repr((self.scope, self.request.path, filters, limit))
        found = paginate(queryset, order=order, limit=limit, token=query.get(TOKEN), scope=scope)
        data = (
            output(cast("Any", found.rows), many=True).data
            if isinstance(output, type)
            else output(found.rows)
        )
        pagination = {"next": found.next} if found.next else None
        return Response({"data": data, "pagination": pagination})

    def answer(
        self, data: object = None, status: int = 200, version: int | None = None
    ) -> Response:
        """An answer; with `version` it carries the `ETag` that `If-Match` may name."""
        headers = {} if version is None else {"ETag": f'"{version}"'}
        return Response(data, status=status, headers=headers)

    def check_version(self, version: int) -> None:
        """Let the request pass unless `If-Match` names other versions only (RFC 9110, 13.1.1).

        Raises:
            PreconditionFailed: the object has changed since the caller saw it.
            InvalidArgument: the header is none.
        """
        given = self.request.headers.get("If-Match")
        if given is None or given.strip() == "*":
            return
        tags = [_ETAG.fullmatch(part.strip()) for part in given.split(",")]
        if not all(tags):
            raise InvalidArgument(
                f'If-Match {shown(given)} is no entity tag: send the ETag of a GET, such as "3".'
            )
        if str(version) not in {tag[1] for tag in tags if tag}:
            raise PreconditionFailed(
                f'The object is at version "{version}", not at {given[:60]}: somebody changed it.'
                " Read it again, then decide."
            )


def _content(response: HttpResponse) -> bytes:
    """The body as it will be sent; REST framework renders it only after the view."""
    if not isinstance(response, Response):
        return response.content
    return b"" if response.data is None else JSONRenderer().render(response.data)


def rendered(row: object, output: type[Serializer[Any]]) -> dict[str, Any]:
    """One row as `output` shows it."""
    found: dict[str, Any] = dict(output(cast("Any", row)).data)
    return found
