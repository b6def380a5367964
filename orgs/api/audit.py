"""`/admin/audit`: the organization's audit trail, its proofs, its export and where it is sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from audit.documents import document_of
from audit.models import MAX_RETENTION_DAYS, MIN_RETENTION_DAYS, AuditEvent, Stream
from audit.selectors import places_of
from orgs.api.base import OrganizationView
from orgs.selectors import audit as selectors
from orgs.services import audit as services
from rest.schema import IF_MATCH, PAGING, errors, page_of
from rest.serializers import INT64, Input

MAX_QUERY = 200


class EventQuery(Input):
    """Which events are wanted."""

    type = serializers.CharField(required=False, max_length=64)
    actor_id = serializers.CharField(required=False, max_length=64)
    resource_kind = serializers.CharField(required=False, max_length=32)
    resource_id = serializers.CharField(required=False, max_length=64)
    outcome = serializers.ChoiceField(required=False, choices=AuditEvent.Outcome.choices)
    request_id = serializers.CharField(required=False, max_length=64)
    decision_id = serializers.UUIDField(required=False)
    since = serializers.DateTimeField(required=False)
    until = serializers.DateTimeField(required=False)
    q = serializers.CharField(required=False, max_length=MAX_QUERY)


def _number(**options: Any) -> serializers.IntegerField:
    return serializers.IntegerField(min_value=0, max_value=INT64, **options)


class NoQuery(Input):
    """Nothing to say."""


class CheckpointQuery(Input):
    """The log as it was with that many events."""

    size = _number(required=False)


class InclusionQuery(Input):
    """Which event, in the log of which size."""

    seq = _number()
    size = _number(required=False)


# `from` is a keyword of Python: the fields are given by name.
ConsistencyQuery = type(
    "ConsistencyQuery",
    (Input,),
    {
        "__doc__": "From which size to which.",
        "__module__": __name__,
        "from": _number(),
        "to": _number(required=False),
    },
)


class ExportQuery(Input):
    """Which part of the log, or which time; times include what was sealed in between."""

    from_seq = _number(required=False)
    end_seq = _number(required=False)
    since = serializers.DateTimeField(required=False)
    until = serializers.DateTimeField(required=False)
    witness_size = _number(required=False)


class PartySerializer(serializers.Serializer[Any]):
    """Somebody or something, as it was called then."""

    kind = serializers.CharField()
    id = serializers.CharField(allow_blank=True)
    label = serializers.CharField(allow_blank=True)  # type: ignore[assignment]  # a field, not the attribute


class AuditEventSerializer(serializers.Serializer[Any]):
    """An event; without `seq` and the hashes it is the document whose hash is its leaf."""

    version = serializers.IntegerField()
    id = serializers.UUIDField()
    time = serializers.DateTimeField()
    type = serializers.CharField()
    outcome = serializers.ChoiceField(choices=AuditEvent.Outcome.choices)
    organization_id = serializers.UUIDField()
    actor = PartySerializer()
    resource = PartySerializer()
    ip = serializers.CharField(allow_blank=True)
    request_id = serializers.CharField(allow_blank=True)
    permission = serializers.CharField(allow_blank=True)
    decision_id = serializers.UUIDField(allow_null=True)
    detail = serializers.DictField()
    changes = serializers.DictField()
    seq = serializers.IntegerField(allow_null=True, help_text="null until the event is sealed.")
    leaf_hash = serializers.CharField(allow_null=True)
    chain_hash = serializers.CharField(allow_null=True)


def shown_events(events: Sequence[AuditEvent]) -> list[dict[str, Any]]:
    """The events with their places in the log. One query."""
    places = places_of(events)
    found = []
    for event in events:
        place = places.get(event.pk)
        found.append(
            {
                **document_of(event),
                "seq": place.seq if place else None,
                "leaf_hash": bytes(place.leaf_hash).hex() if place else None,
                "chain_hash": bytes(place.chain_hash).hex() if place else None,
            }
        )
    return found


class CheckpointSerializer(serializers.Serializer[selectors.SignedTree]):
    """A signed note (C2SP tlog-checkpoint), its content, and the key to check it with."""

    size = serializers.IntegerField()
    root = serializers.SerializerMethodField()  # type: ignore[assignment]  # a field, not the attribute
    checkpoint = serializers.CharField(source="note")
    public_key = serializers.CharField()

    def get_root(self, tree: selectors.SignedTree) -> str:
        return tree.root.hex()


class InclusionSerializer(serializers.Serializer[Any]):
    """A proof by RFC 9162, section 2.1.3; hashes are hexadecimal."""

    seq = serializers.IntegerField()
    size = serializers.IntegerField()
    root = serializers.CharField()  # type: ignore[assignment]  # a field, not the attribute
    leaf_hash = serializers.CharField()
    hashes = serializers.ListField(child=serializers.CharField())


class ConsistencySerializer(serializers.Serializer[Any]):
    """A proof by RFC 9162, section 2.1.4; hashes are hexadecimal."""

    from_size = serializers.IntegerField()
    from_root = serializers.CharField()
    size = serializers.IntegerField()
    root = serializers.CharField()  # type: ignore[assignment]  # a field, not the attribute
    hashes = serializers.ListField(child=serializers.CharField())


class Retention(Input):
    """For how many days events are kept."""

    days = serializers.IntegerField(min_value=MIN_RETENTION_DAYS, max_value=MAX_RETENTION_DAYS)


class RetentionSerializer(serializers.Serializer[Any]):
    """For how many days events are kept, and the first one that still is."""

    days = serializers.IntegerField(source="retention_days")
    bodies_from_seq = serializers.IntegerField()


class CreateStream(Input):
    """Where to send events to. What `config` has depends on the kind: docs/audit.md."""

    name = serializers.CharField(max_length=services.NAME_LENGTH)
    kind = serializers.ChoiceField(choices=Stream.Kind.choices)
    config = serializers.DictField()
    secret = serializers.CharField(required=False, write_only=True, max_length=256)
    from_seq = _number(required=False)


class UpdateStream(Input):
    """What to change; what is left out stays."""

    name = serializers.CharField(required=False, max_length=services.NAME_LENGTH)
    config = serializers.DictField(required=False)
    secret = serializers.CharField(required=False, write_only=True, max_length=256)
    enabled = serializers.BooleanField(required=False)


class StreamSerializer(serializers.Serializer[Stream]):
    """A stream and how it is doing. Of a webhook's address only the host is shown."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    kind = serializers.ChoiceField(choices=Stream.Kind.choices)
    config = serializers.SerializerMethodField()
    enabled = serializers.BooleanField(source="is_enabled")
    state = serializers.SerializerMethodField()
    next_seq = serializers.IntegerField()
    failures = serializers.IntegerField()
    last_error = serializers.CharField(allow_blank=True)
    last_delivered_at = serializers.DateTimeField(allow_null=True)
    next_attempt_at = serializers.DateTimeField()
    version = serializers.IntegerField()
    created_at = serializers.DateTimeField()

    def get_config(self, stream: Stream) -> dict[str, Any]:
        """Without what may be a token: path and query of an address."""
        config = dict(stream.config)
        if "url" in config:
            parts = urlsplit(config["url"])
            config["url"] = f"{parts.scheme}://{parts.netloc}/…"
        return config

    def get_state(self, stream: Stream) -> str:
        if not stream.is_enabled:
            return "paused"
        return "failing" if stream.failures else "active"


class NewStreamSerializer(StreamSerializer):
    """A stream and, for a webhook, its signing secret, which is told this once."""

    secret = serializers.CharField(allow_blank=True)


def _new_stream(stream: Stream, secret: str) -> dict[str, Any]:
    return {**StreamSerializer(stream).data, "secret": secret}


class EventsView(OrganizationView):
    """All events."""

    @extend_schema(
        operation_id="list_audit_events",
        parameters=[*PAGING, EventQuery],
        responses={200: page_of(AuditEventSerializer), **errors(400, 403, 404)},
    )
    def get(self, request: Request) -> Response:
        """The organization's events that match every filter, newest first."""
        wanted = selectors.EventFilter(**self.query(EventQuery))
        events = selectors.events_of(self.actor, self.organization_id, wanted)
        return self.page(events, shown_events, order=("-time", "-id"))


class EventView(OrganizationView):
    """One event."""

    @extend_schema(
        operation_id="get_audit_event",
        responses={200: AuditEventSerializer, **errors(400, 403, 404)},
    )
    def get(self, request: Request, event_id: UUID) -> Response:
        """The event with its place in the log."""
        event = selectors.get_event(self.actor, self.organization_id, event_id)
        return self.answer(shown_events([event])[0])


class CheckpointView(OrganizationView):
    """The signed state of the log."""

    @extend_schema(
        operation_id="get_audit_checkpoint",
        parameters=[CheckpointQuery],
        responses={200: CheckpointSerializer, **errors(400, 403, 404)},
    )
    def get(self, request: Request) -> Response:
        """The newest checkpoint, or that of an earlier size. Keep it: it holds the log to it."""
        size = self.query(CheckpointQuery).get("size")
        tree = selectors.checkpoint_of(self.actor, self.organization_id, size)
        return self.answer(CheckpointSerializer(tree).data)


class InclusionView(OrganizationView):
    """That an event is in the log."""

    @extend_schema(
        operation_id="get_audit_inclusion_proof",
        parameters=[InclusionQuery],
        responses={200: InclusionSerializer, **errors(400, 403, 404)},
    )
    def get(self, request: Request) -> Response:
        """The proof that event `seq` is in the log of `size` events, the newest if left out."""
        query = self.query(InclusionQuery)
        leaf, proof = selectors.inclusion_proof(self.actor, self.organization_id, **query)
        return self.answer(
            {
                "seq": query["seq"],
                "size": proof.size,
                "root": proof.root.hex(),
                "leaf_hash": leaf.hex(),
                "hashes": [hashed.hex() for hashed in proof.hashes],
            }
        )


class ConsistencyView(OrganizationView):
    """That the log only grew."""

    @extend_schema(
        operation_id="get_audit_consistency_proof",
        parameters=[ConsistencyQuery],
        responses={200: ConsistencySerializer, **errors(400, 403, 404)},
    )
    def get(self, request: Request) -> Response:
        """The proof that the log of `to` events (left out: now) begins with what it was `from`."""
        query = self.query(ConsistencyQuery)
        old, new = query["from"], query.get("to")
        root, proof = selectors.consistency_proof(self.actor, self.organization_id, old, new)
        return self.answer(
            {
                "from_size": old,
                "from_root": root.hex(),
                "size": proof.size,
                "root": proof.root.hex(),
                "hashes": [hashed.hex() for hashed in proof.hashes],
            }
        )


class ExportView(OrganizationView):
    """The log as a file that proves itself."""

    @extend_schema(
        operation_id="export_audit_events",
        parameters=[ExportQuery],
        responses={
            (200, "application/x-ndjson"): OpenApiTypes.STR,
            **errors(400, 403, 404),
        },
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        """JSON lines for `manage.py audit_verify`. Who exports what is on record."""
        lines = services.export_events(
            actor=self.actor, organization_id=self.organization_id, **self.query(ExportQuery)
        )
        return StreamingHttpResponse(
            lines,
            content_type="application/x-ndjson",
            headers={"Content-Disposition": 'attachment; filename="audit.jsonl"'},
        )


class RetentionView(OrganizationView):
    """How long events are kept."""

    @extend_schema(
        operation_id="get_audit_retention",
        responses={200: RetentionSerializer, **errors(400, 403, 404)},
    )
    def get(self, request: Request) -> Response:
        """The days in force."""
        self.query(NoQuery)
        log = selectors.log_of(self.actor, self.organization_id)
        return self.answer(RetentionSerializer(log).data, version=log.retention_days)

    @extend_schema(
        operation_id="update_audit_retention",
        parameters=[IF_MATCH],
        request=Retention,
        responses={200: RetentionSerializer, **errors(400, 403, 404, 412)},
    )
    def patch(self, request: Request) -> Response:
        """Keep events longer or shorter; 30 to 3650 days. Hashes are kept for good."""
        log = services.update_retention(
            actor=self.actor,
            organization_id=self.organization_id,
            check=self.check_version,
            **self.body(Retention),
        )
        return self.answer(RetentionSerializer(log).data, version=log.retention_days)


class StreamsView(OrganizationView):
    """Where events are sent."""

    @extend_schema(
        operation_id="list_audit_streams",
        parameters=[*PAGING],
        responses={200: page_of(StreamSerializer), **errors(400, 403, 404)},
    )
    def get(self, request: Request) -> Response:
        """The organization's streams, oldest first."""
        self.query(NoQuery)
        streams = selectors.streams_of(self.actor, self.organization_id)
        return self.page(streams, StreamSerializer)

    @extend_schema(
        operation_id="create_audit_stream",
        request=CreateStream,
        responses={201: NewStreamSerializer, **errors(400, 403, 404, 409)},
    )
    def post(self, request: Request) -> Response:
        """Send events to a webhook, to S3-compatible storage or to a syslog receiver."""
        body = self.body(CreateStream)
        stream, secret = services.create_stream(
            actor=self.actor,
            organization_id=self.organization_id,
            **{**body, "kind": Stream.Kind(body["kind"])},
        )
        return self.answer(_new_stream(stream, secret), status=201, version=stream.version)


class StreamView(OrganizationView):
    """One stream."""

    @extend_schema(
        operation_id="get_audit_stream",
        responses={200: StreamSerializer, **errors(400, 403, 404)},
    )
    def get(self, request: Request, stream_id: UUID) -> Response:
        """The stream and how it is doing."""
        stream = selectors.get_stream(self.actor, self.organization_id, stream_id)
        return self.answer(StreamSerializer(stream).data, version=stream.version)

    @extend_schema(
        operation_id="update_audit_stream",
        parameters=[IF_MATCH],
        request=UpdateStream,
        responses={200: StreamSerializer, **errors(400, 403, 404, 409, 412)},
    )
    def patch(self, request: Request, stream_id: UUID) -> Response:
        """Change, pause or resume the stream; what is due is tried again at once."""
        stream = services.update_stream(
            actor=self.actor,
            organization_id=self.organization_id,
            stream_id=stream_id,
            check=self.check_version,
            **self.body(UpdateStream),
        )
        return self.answer(StreamSerializer(stream).data, version=stream.version)

    @extend_schema(
        operation_id="delete_audit_stream",
        parameters=[IF_MATCH],
        responses={202: OpenApiResponse(description="Done."), **errors(400, 403, 404, 412)},
    )
    def delete(self, request: Request, stream_id: UUID) -> Response:
        """Send nothing there any more."""
        services.delete_stream(
            actor=self.actor,
            organization_id=self.organization_id,
            stream_id=stream_id,
            check=self.check_version,
        )
        return self.answer(status=202)


class StreamSecretView(OrganizationView):
    """A webhook's signing secret."""

    @extend_schema(
        operation_id="rotate_audit_stream_secret",
        parameters=[IF_MATCH],
        request=None,
        responses={200: NewStreamSerializer, **errors(400, 403, 404, 412)},
    )
    def post(self, request: Request, stream_id: UUID) -> Response:
        """Sign with a new secret from now on. It is told this once."""
        stream, secret = services.rotate_stream_secret(
            actor=self.actor,
            organization_id=self.organization_id,
            stream_id=stream_id,
            check=self.check_version,
        )
        return self.answer(_new_stream(stream, secret), version=stream.version)
