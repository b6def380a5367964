"""The control plane's index operations as Pinecone's clients call them."""

from __future__ import annotations

import re
from typing import Protocol, cast
from uuid import UUID

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from indexes import services
from indexes.api.documents import (
    CONFIGURE,
    CREATE,
    NOT_OFFERED,
    PROJECT,
    REFUSED_CREDENTIAL,
    VERSION,
    IndexListSerializer,
    IndexSerializer,
    empty_list,
)
from indexes.api.documents import (
    DRY_RUN_HEADER as DRY_RUN_PARAMETER,
)
from indexes.api.representation import index_json
from indexes.api.shapes import parse_configure, parse_create
from indexes.selectors import find_project, find_scope, get_index, list_indexes
from orgs.actors import Actor
from orgs.errors import InvalidArgument, NotFound
from orgs.permissions import Permission
from projects.api.serializers import PreviewSerializer, preview_json
from rest.schema import DRY_RUN, errors
from rest.views import IdempotentView
from rest.wording import shown

VERSION_HEADER = "X-Pinecone-Api-Version"
TYPED_SCHEMAS = "2026-07"
"""The API version that changed status codes and the body of a 401."""
_VERSION = re.compile(r"\d{4}-\d{2}")


PROJECT_HEADER = "X-Project-Id"
"""Names the project for callers that have no single one: service accounts."""
DRY_RUN_HEADER = "X-Dry-Run"


class _Key(Protocol):
    project_id: UUID


class _Principal(Protocol):
    """What authentication puts on the request; `key` is None or missing for service accounts."""

    key: _Key | None
    actor: Actor


def api_version(request: Request) -> str | None:
    """`YYYY-MM` of the version that the client speaks; None where it says nothing of the kind."""
    found = _VERSION.match(request.headers.get(VERSION_HEADER, ""))
    return found[0] if found else None


def _shows_token(request: Request) -> bool:
    return request.headers.get("Authorization", "")[:7].lower() == "bearer "


class IndexView(IdempotentView):
    """What the operations share: strict JSON, and who asks.

    An API key speaks for its project; a service account's token comes with `X-Project-Id`.
    """

    http_method_names = ("get", "head", "post", "patch", "delete")
    common_parameters = (VERSION, PROJECT)
    # The header that names the project may be malformed, missing or foreign.
    common_errors = (400, 404)

    def perform_authentication(self, request: Request) -> None:
        """Find out who asks, by one credential.

        Raises:
            InvalidArgument: two; which one is meant nobody can tell.
        """
        if "Api-Key" in request.headers and _shows_token(request):
            raise InvalidArgument(
                "Both an Api-Key and an Authorization: Bearer header are there. Send one of them."
            )
        super().perform_authentication(request)

    def get_authenticate_header(self, request: Request) -> str:
        """The kind of credential that the caller showed, or else the usual one."""
        return 'Bearer realm="tamarack"' if _shows_token(request) else "Api-Key"

    def handle_exception(self, exc: Exception) -> Response:
        """As everywhere, but since 2026-07 a refused credential is answered in plain text."""
        answer = super().handle_exception(exc)
        version = api_version(self.request)
        is_new = version is not None and version >= TYPED_SCHEMAS
        if is_new and isinstance(exc, AuthenticationFailed | NotAuthenticated):
            plain = HttpResponse(str(exc.detail), content_type="text/plain", status=401)
            plain["WWW-Authenticate"] = self.get_authenticate_header(self.request)
            return cast("Response", plain)
        return answer

    @property
    def actor(self) -> Actor:
        """Who asks."""
        return cast("_Principal", self.request.user).actor

    @property
    def scope(self) -> str:
        """Who asks, in which project."""
        return f"{super().scope}:{self.project_id}"

    @property
    def project_id(self) -> UUID:
        """The project that the key belongs to: no call reaches beyond it. A service account names
        the one that it means.

        Raises:
            InvalidArgument: the header is missing or no id; or a key names another project.
        """
        key = getattr(self.request.user, "key", None)
        given = self.request.headers.get(PROJECT_HEADER)
        if given is None:
            if key is None:
                raise InvalidArgument(
                    f"Which project is meant? Send its id in the header {PROJECT_HEADER}."
                )
            return cast("_Key", key).project_id
        try:
            named = UUID(given)
        except ValueError:
            raise InvalidArgument(
                f"{PROJECT_HEADER} {shown(given)} is no project id: send a UUID."
            ) from None
        if key is not None and named != key.project_id:
            raise InvalidArgument(
                f"{PROJECT_HEADER} {named} is not the API key's own project. Leave the header out,"
                " or use a key of that project."
            )
        return named

    @property
    def dry_run(self) -> bool:
        """Whether the caller wants to know only what would happen: `?dry_run=true`, or the header
        `X-Dry-Run: true`.

        Raises:
            InvalidArgument: neither true nor false.
        """
        for where, text in (
            ("dry_run", self.request.query_params.get("dry_run")),
            (DRY_RUN_HEADER, self.request.headers.get(DRY_RUN_HEADER)),
        ):
            if text not in {None, "true", "false"}:
                raise InvalidArgument(f"{where} {shown(text)} is not known: use true or false.")
            if text == "true":
                return True
        return False


class IndexesView(IndexView):
    """`/indexes`"""

    @extend_schema(
        operation_id="list_indexes", responses={200: IndexListSerializer, **REFUSED_CREDENTIAL}
    )
    def get(self, request: Request) -> Response:
        """All indexes of the project."""
        indexes = list_indexes(self.actor, self.project_id)
        return Response({"indexes": [index_json(index) for index in indexes]})

    @extend_schema(
        operation_id="create_index",
        parameters=[DRY_RUN, DRY_RUN_PARAMETER],
        request=CREATE,
        responses={
            200: PreviewSerializer,
            201: IndexSerializer,
            **errors(402, 409, 412),
            **REFUSED_CREDENTIAL,
        },
    )
    def post(self, request: Request) -> Response:
        """Create one; it is Initializing when this answers."""
        dry_run, project_id, spec = self.dry_run, self.project_id, parse_create(request.data)
        if dry_run:
            quotas = services.preview_index(actor=self.actor, project_id=project_id, spec=spec)
            return Response(preview_json(quotas))
        index = services.create_index(actor=self.actor, project_id=project_id, spec=spec)
        return Response(index_json(index), status=201)


class IndexDetailView(IndexView):
    """`/indexes/{name}`"""

    @extend_schema(
        operation_id="describe_index", responses={200: IndexSerializer, **REFUSED_CREDENTIAL}
    )
    def get(self, request: Request, name: str) -> Response:
        """Describe one."""
        return Response(index_json(get_index(self.actor, self.project_id, name)))

    @extend_schema(
        operation_id="configure_index",
        request=CONFIGURE,
        responses={
            200: IndexSerializer,
            202: IndexSerializer,
            **errors(402, 409, 412),
            **REFUSED_CREDENTIAL,
        },
    )
    def patch(self, request: Request, name: str) -> Response:
        """Change tags or deletion protection."""
        changes = parse_configure(request.data)
        index = services.configure_index(
            actor=self.actor,
            project_id=self.project_id,
            name=name,
            tags=changes.tags,
            deletion_protection=changes.deletion_protection,
        )
        version = api_version(request)
        status = 202 if version is not None and version < TYPED_SCHEMAS else 200
        return Response(index_json(index), status=status)

    @extend_schema(
        operation_id="delete_index", responses={202: None, **errors(409, 412), **REFUSED_CREDENTIAL}
    )
    def delete(self, request: Request, name: str) -> Response:
        """Delete one; repeating it while it is Terminating is accepted again."""
        services.delete_index(actor=self.actor, project_id=self.project_id, name=name)
        return Response(status=202)


@extend_schema_view(
    get=extend_schema(exclude=True),
    patch=extend_schema(exclude=True),
    delete=extend_schema(exclude=True),
)
class CreateForModelView(IndexDetailView):
    """`/indexes/create-for-model`, which may also be an index of that name."""

    @extend_schema(
        operation_id="create_index_for_model",
        request=NOT_OFFERED,
        responses={**errors(400), **REFUSED_CREDENTIAL},
    )
    def post(self, request: Request, name: str) -> Response:
        """Refused, with the way to the same end."""
        find_project(self.actor, self.project_id, Permission.INDEX_CREATE)
        raise InvalidArgument(
            "Embedding models are not offered here, so no index can be created for one. Create it"
            " with POST /indexes and your model's dimension and metric, and embed on your side."
        )


class CollectionsView(IndexView):
    """`/collections`: legacy copies of pod indexes, of which there are none."""

    @extend_schema(
        operation_id="list_collections",
        responses={200: empty_list("collections"), **REFUSED_CREDENTIAL},
    )
    def get(self, request: Request) -> Response:
        """The empty list that clients expect, such as when they clean up a project."""
        find_scope(self.actor, self.project_id, Permission.INDEX_READ)
        return Response({"collections": []})

    @extend_schema(
        operation_id="create_collection",
        request=NOT_OFFERED,
        responses={**errors(400), **REFUSED_CREDENTIAL},
    )
    def post(self, request: Request) -> Response:
        """Refused: there are no pod indexes to copy."""
        find_project(self.actor, self.project_id, Permission.INDEX_CREATE)
        raise InvalidArgument(
            "Collections are copies of pod indexes, and there are none here."
            " Read the records with list and fetch, and upsert them into another index."
        )


class CollectionDetailView(IndexView):
    """`/collections/{name}`: none exists."""

    @extend_schema(
        operation_id="describe_collection", responses={**errors(404), **REFUSED_CREDENTIAL}
    )
    def get(self, request: Request, name: str) -> Response:
        """Not found."""
        find_scope(self.actor, self.project_id, Permission.INDEX_READ)
        raise NotFound(f"No collection {shown(name)}: this installation has no collections.")

    @extend_schema(
        operation_id="delete_collection", responses={**errors(404), **REFUSED_CREDENTIAL}
    )
    def delete(self, request: Request, name: str) -> Response:
        """Not found."""
        find_scope(self.actor, self.project_id, Permission.INDEX_DELETE)
        raise NotFound(f"No collection {shown(name)}: this installation has no collections.")


class AssistantsView(IndexView):
    """`/assistant/assistants`: chat over documents, which this installation does not offer."""

    @extend_schema(
        operation_id="list_assistants",
        responses={200: empty_list("assistants"), **REFUSED_CREDENTIAL},
    )
    def get(self, request: Request) -> Response:
        """The empty list that clients expect when they clean up a project."""
        find_scope(self.actor, self.project_id, Permission.INDEX_READ)
        return Response({"assistants": []})


class BackupsView(IndexView):
    """`/backups`: copies of indexes, of which there are none here."""

    @extend_schema(
        operation_id="list_backups", responses={200: empty_list("data"), **REFUSED_CREDENTIAL}
    )
    def get(self, request: Request) -> Response:
        """The empty list that clients expect when they clean up a project."""
        find_scope(self.actor, self.project_id, Permission.INDEX_READ)
        return Response({"data": []})
