"""The control plane's index operations as Pinecone's clients call them."""

from __future__ import annotations

import re
from typing import Protocol, cast
from uuid import UUID

from django.http import HttpResponse
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from indexes import services
from indexes.api.representation import index_json
from indexes.api.shapes import parse_configure, parse_create
from indexes.selectors import find_project, get_index, list_indexes
from orgs.actors import Actor
from orgs.errors import InvalidArgument, NotFound
from orgs.permissions import Permission
from rest.parsers import StrictJSONParser
from rest.wording import shown

VERSION_HEADER = "X-Pinecone-Api-Version"
TYPED_SCHEMAS = "2026-07"
"""The API version that changed status codes and the body of a 401."""
_VERSION = re.compile(r"\d{4}-\d{2}")


class _Key(Protocol):
    project_id: UUID


class _Principal(Protocol):
    """What authentication puts on the request."""

    key: _Key
    actor: Actor


def api_version(request: Request) -> str | None:
    """`YYYY-MM` of the version that the client speaks; None where it says nothing of the kind."""
    found = _VERSION.match(request.headers.get(VERSION_HEADER, ""))
    return found[0] if found else None


class IndexView(APIView):
    """What the operations share: strict JSON, and who asks."""

    parser_classes: tuple[type[BaseParser], ...] = (StrictJSONParser,)
    http_method_names = ("get", "head", "post", "patch", "delete")

    def handle_exception(self, exc: Exception) -> Response:
        """As everywhere, but since 2026-07 a refused key is answered in plain text."""
        answer = super().handle_exception(exc)
        version = api_version(self.request)
        refused = isinstance(exc, AuthenticationFailed | NotAuthenticated)
        if refused and version is not None and version >= TYPED_SCHEMAS:
            plain = HttpResponse("Invalid API Key", content_type="text/plain", status=401)
            plain["WWW-Authenticate"] = "Api-Key"
            return cast("Response", plain)
        return answer

    @property
    def actor(self) -> Actor:
        """Who asks."""
        return cast("_Principal", self.request.user).actor

    @property
    def project_id(self) -> UUID:
        """The project that the key belongs to: no call reaches beyond it."""
        return cast("_Principal", self.request.user).key.project_id


class IndexesView(IndexView):
    """`/indexes`"""

    def get(self, request: Request) -> Response:
        """All indexes of the project."""
        indexes = list_indexes(self.actor, self.project_id)
        return Response({"indexes": [index_json(index) for index in indexes]})

    def post(self, request: Request) -> Response:
        """Create one; it is Initializing when this answers."""
        index = services.create_index(
            actor=self.actor, project_id=self.project_id, spec=parse_create(request.data)
        )
        return Response(index_json(index), status=201)


class IndexDetailView(IndexView):
    """`/indexes/{name}`"""

    def get(self, request: Request, name: str) -> Response:
        """Describe one."""
        return Response(index_json(get_index(self.actor, self.project_id, name)))

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

    def delete(self, request: Request, name: str) -> Response:
        """Delete one; repeating it while it is Terminating is accepted again."""
        services.delete_index(actor=self.actor, project_id=self.project_id, name=name)
        return Response(status=202)


class CreateForModelView(IndexDetailView):
    """`/indexes/create-for-model`, which may also be an index of that name."""

    def post(self, request: Request, name: str) -> Response:
        """Refused, with the way to the same end."""
        find_project(self.actor, self.project_id, Permission.INDEX_CREATE)
        raise InvalidArgument(
            "Embedding models are not offered here, so no index can be created for one. Create it"
            " with POST /indexes and your model's dimension and metric, and embed on your side."
        )


class CollectionsView(IndexView):
    """`/collections`: legacy copies of pod indexes, of which there are none."""

    def get(self, request: Request) -> Response:
        """The empty list that clients expect, such as when they clean up a project."""
        find_project(self.actor, self.project_id, Permission.INDEX_READ)
        return Response({"collections": []})

    def post(self, request: Request) -> Response:
        """Refused: there are no pod indexes to copy."""
        find_project(self.actor, self.project_id, Permission.INDEX_CREATE)
        raise InvalidArgument(
            "Collections are copies of pod indexes, and there are none here."
            " Read the records with list and fetch, and upsert them into another index."
        )


class CollectionDetailView(IndexView):
    """`/collections/{name}`: none exists."""

    def get(self, request: Request, name: str) -> Response:
        """Not found."""
        find_project(self.actor, self.project_id, Permission.INDEX_READ)
        raise NotFound(f"No collection {shown(name)}: this installation has no collections.")

    def delete(self, request: Request, name: str) -> Response:
        """Not found."""
        find_project(self.actor, self.project_id, Permission.INDEX_DELETE)
        raise NotFound(f"No collection {shown(name)}: this installation has no collections.")
