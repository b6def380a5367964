"""Who may say where the audit trail is sent."""

from __future__ import annotations

import pytest

from audit.models import Stream
from orgs.actors import Actor
from orgs.errors import PermissionDenied
from orgs.models import CustomRole, PrincipalType, ResourceType
from orgs.permissions import Permission
from orgs.services.audit import create_stream, update_stream
from orgs.services.bindings import bind_role
from tests.cast import Cast
from tests.factories import SYSTEM

HOOK: dict[str, object] = {"url": "https://siem.example.com/in"}
ELSEWHERE: dict[str, object] = {"url": "https://elsewhere.example.com/in"}


@pytest.fixture
def configurer(cast: Cast) -> Actor:
    """Bob, who configures where the trail goes, and may not read it."""
    role = CustomRole.objects.create(
        organization=cast.organization,
        name="Plumber",
        resource_type=ResourceType.ORGANIZATION,
        permissions=[Permission.AUDIT_MANAGE.value],
    )
    bind_role(
        actor=SYSTEM,
        organization_id=cast.organization.pk,
        principal=(PrincipalType.USER, cast.bob.pk),
        role=role,
        resource_id=cast.organization.pk,
    )
    return cast.actor(cast.bob)


class StreamTests:
    def test_who_may_not_read_the_trail_sends_it_nowhere(
        self, cast: Cast, configurer: Actor
    ) -> None:
        with pytest.raises(PermissionDenied, match="audit:read"):
            create_stream(
                actor=configurer,
                organization_id=cast.organization.pk,
                name="mine",
                kind=Stream.Kind.WEBHOOK,
                config=ELSEWHERE,
                from_seq=0,
            )
        assert not Stream.objects.exists()

    def test_who_may_not_read_the_trail_leads_no_stream_elsewhere(
        self, cast: Cast, configurer: Actor
    ) -> None:
        organization_id = cast.organization.pk
        stream, _ = create_stream(
            actor=cast.actor(cast.alice),
            organization_id=organization_id,
            name="SIEM",
            kind=Stream.Kind.WEBHOOK,
            config=HOOK,
        )
        with pytest.raises(PermissionDenied, match="audit:read"):
            update_stream(
                actor=configurer,
                organization_id=organization_id,
                stream_id=stream.pk,
                config=ELSEWHERE,
            )
        stream.refresh_from_db()
        assert stream.config["url"] == HOOK["url"]
        paused = update_stream(
            actor=configurer, organization_id=organization_id, stream_id=stream.pk, enabled=False
        )
        assert not paused.is_enabled
