"""What the trail says when somebody goes."""

from __future__ import annotations

from audit.models import AuditEvent
from orgs.models import GroupMembership
from orgs.services.groups import add_group_member, create_group
from orgs.services.members import remove_member
from tests.cast import Cast


class RemoveMemberTests:
    def test_the_trail_names_every_group_that_the_person_goes_from(self, cast: Cast) -> None:
        alice, organization_id = cast.actor(cast.alice), cast.organization.pk
        names = ("Night watch", "Search team")
        for name in names:
            group = create_group(actor=alice, organization_id=organization_id, name=name)
            add_group_member(
                actor=alice,
                organization_id=organization_id,
                group_id=group.pk,
                user_id=cast.bob.pk,
            )
        remove_member(actor=alice, organization_id=organization_id, user_id=cast.bob.pk)
        events = AuditEvent.objects.filter(type="group_member.removed")
        assert {event.resource_label for event in events} == set(names)
        assert {event.organization_id for event in events} == {organization_id}
        assert {event.detail["user_id"] for event in events} == {str(cast.bob.pk)}
        assert not GroupMembership.objects.filter(user=cast.bob).exists()
