"""`/admin/sso/connections`: connections to identity providers and their states."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import transaction
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import OrganizationView
from orgs.api.organizations import DONE
from rest.schema import DRY_RUN, IF_MATCH, PAGING, errors, page_of
from rest.views import rendered
from sso.api.inputs import ConnectionChange, NewConnection, NoFilter, StateChange
from sso.api.outputs import SsoConnectionSerializer
from sso.models import Connection
from sso.selectors.connections import connections_of, get_connection
from sso.services.connections import (
    create_connection,
    delete_connection,
    set_state,
    update_connection,
)
from sso.services.enforcement import Readiness, enforce, readiness

MAX_LOCKED_OUT = 100
State = Connection.State


class ReadinessCheckSerializer(serializers.Serializer[Any]):
    """One thing that has to hold; `why` says what was found, `way_out` what to do."""

    name = serializers.CharField()
    title = serializers.CharField()
    ok = serializers.BooleanField()
    why = serializers.CharField()
    way_out = serializers.CharField()


class KeptOutSerializer(serializers.Serializer[Any]):
    """A member who could not come in any more, and why."""

    user_id = serializers.UUIDField(source="id")
    email = serializers.CharField(source="label")
    reason = serializers.CharField()


class ReadinessSerializer(serializers.Serializer[Any]):
    """Whether the connection can be required of everybody."""

    is_ready = serializers.BooleanField()
    checks = ReadinessCheckSerializer(many=True)
    locked_out_count = serializers.SerializerMethodField()
    locked_out = serializers.SerializerMethodField()

    def get_locked_out_count(self, found: Readiness) -> int:
        """How many could not come in any more."""
        return len(found.locked_out)

    @extend_schema_field(KeptOutSerializer(many=True))
    def get_locked_out(self, found: Readiness) -> Any:
        """The first hundred of them."""
        return KeptOutSerializer(found.locked_out[:MAX_LOCKED_OUT], many=True).data


class ConnectionsView(OrganizationView):
    """`/admin/sso/connections`"""

    @extend_schema(
        operation_id="list_sso_connections",
        parameters=[*PAGING],
        responses={200: page_of(SsoConnectionSerializer)},
    )
    def get(self, request: Request) -> Response:
        """The organization's connections, oldest first."""
        self.query(NoFilter)
        return self.page(connections_of(self.actor, self.organization_id), SsoConnectionSerializer)

    @extend_schema(
        operation_id="create_sso_connection",
        request=NewConnection,
        responses={201: SsoConnectionSerializer},
    )
    def post(self, request: Request) -> Response:
        """Make a connection, as a draft."""
        row = create_connection(
            actor=self.actor, organization_id=self.organization_id, **self.body(NewConnection)
        )
        return self.answer(rendered(row, SsoConnectionSerializer), status=201, version=row.version)


class ConnectionView(OrganizationView):
    """`/admin/sso/connections/{id}`"""

    @extend_schema(
        operation_id="get_sso_connection",
        responses={200: SsoConnectionSerializer},
    )
    def get(self, request: Request, connection_id: UUID) -> Response:
        """The connection. Its secrets are never shown."""
        self.query(NoFilter)
        return shown(self, get_connection(self.actor, connection_id))

    @extend_schema(
        operation_id="update_sso_connection",
        parameters=[IF_MATCH],
        request=ConnectionChange,
        responses={200: SsoConnectionSerializer, **errors(409, 412)},
    )
    def patch(self, request: Request, connection_id: UUID) -> Response:
        """Change fields. What decides whether sign-ins succeed makes earlier tests void."""
        row = update_connection(
            actor=self.actor,
            connection_id=connection_id,
            changes=self.body(ConnectionChange),
            check=self.check_version,
        )
        return shown(self, row)

    @extend_schema(
        operation_id="delete_sso_connection",
        parameters=[IF_MATCH],
        request=None,
        responses={202: DONE, **errors(409, 412)},
    )
    def delete(self, request: Request, connection_id: UUID) -> Response:
        """Delete the connection and end the sessions that it opened. People and roles stay."""
        delete_connection(actor=self.actor, connection_id=connection_id, check=self.check_version)
        return self.answer(status=202)


class ConnectionStateView(OrganizationView):
    """`/admin/sso/connections/{id}/state`"""

    @extend_schema(
        operation_id="set_sso_connection_state",
        parameters=[DRY_RUN, IF_MATCH],
        request=StateChange,
        responses={200: SsoConnectionSerializer, **errors(409, 412)},
    )
    def post(self, request: Request, connection_id: UUID) -> Response:
        """Take the connection to another state, up to being required of everybody (`enforced`).

        With `dry_run` nothing is kept: the answer is the connection as it would be, or the refusal.
        """
        state: str = self.body(StateChange)["state"]
        with transaction.atomic():
            response = shown(self, self._changed(connection_id, state))
            transaction.set_rollback(self.dry_run)
        return response

    def _changed(self, connection_id: UUID, state: str) -> Connection:
        if state == State.ENFORCED:
            return enforce(
                actor=self.actor,
                connection_id=connection_id,
                keep=self.request._request.session.session_key or "",
                check=self.check_version,
            )
        return set_state(
            actor=self.actor, connection_id=connection_id, state=state, check=self.check_version
        )


class ReadinessView(OrganizationView):
    """`/admin/sso/connections/{id}/readiness`"""

    @extend_schema(
        operation_id="get_sso_connection_readiness",
        responses={200: ReadinessSerializer},
    )
    def get(self, request: Request, connection_id: UUID) -> Response:
        """What has to be done before the connection can be required, and whom it would keep out."""
        self.query(NoFilter)
        found = readiness(actor=self.actor, connection_id=connection_id)
        return self.answer(ReadinessSerializer(found).data)


def shown(view: OrganizationView, row: Connection) -> Response:
    """The connection with its `ETag`."""
    return view.answer(rendered(row, SsoConnectionSerializer), version=row.version)
