from __future__ import annotations

import uuid
from datetime import datetime, timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from audit.models import AuditEvent
from keys.housekeeping import end_idle_secrets
from keys.models import ApiKey, ApiKeySecret, UsagePosition
from keys.selectors.api_keys import verify_key
from keys.selectors.rotation import users_of
from keys.services.api_keys import update_api_key
from keys.services.rotation import end_overlap, rotate_api_key
from keys.usage import Position, Use, record_usage
from orgs.errors import FailedPrecondition, NotFound, OutOfRange, PermissionDenied
from orgs.models import SecurityBaseline
from orgs.permissions import Permission, Role
from tests.cast import Cast
from tests.factories import SYSTEM, make_key
from tests.keys.test_services import custom_role_of, give

HOUR = timedelta(hours=1)


def works(text: str) -> bool:
    """Whether the key is let in."""
    return verify_key(text) is not None


def pass_time(key: ApiKey, by: timedelta) -> None:
    """As if the rotation had been that much longer ago."""
    for secret in key.secrets.filter(slot="previous"):
        assert secret.replaced_at is not None
        assert secret.expires_at is not None
        secret.replaced_at -= by
        secret.expires_at -= by
        secret.save()


class RotateTests:
    def test_both_secrets_work_and_are_one_key(self, cast: Cast) -> None:
        key, old = make_key(cast.project)
        rotated, new = rotate_api_key(actor=cast.actor(cast.alice), key_id=key.pk)
        verified = [verify_key(text) for text in (old, new)]
        assert [each and each.id for each in verified] == [key.pk, key.pk]
        assert [each and each.secret for each in verified] == [old[5:15], new[5:15]]
        assert rotated.version == key.version + 1

    def test_the_old_one_ends_at_its_deadline(self, cast: Cast) -> None:
        key, old = make_key(cast.project)
        _, new = rotate_api_key(actor=SYSTEM, key_id=key.pk, overlap=HOUR)
        pass_time(key, timedelta(minutes=59))
        assert works(old)
        pass_time(key, timedelta(minutes=1))
        assert not works(old)
        assert works(new)

    def test_without_an_overlap_the_old_one_ends_at_once(self, cast: Cast) -> None:
        key, old = make_key(cast.project)
        _, new = rotate_api_key(actor=SYSTEM, key_id=key.pk, overlap=timedelta())
        assert (works(old), works(new)) == (False, True)

    def test_rotating_again_ends_the_oldest_and_leaves_the_successor_alive(
        self, cast: Cast
    ) -> None:
        key, first = make_key(cast.project)
        _, second = rotate_api_key(actor=SYSTEM, key_id=key.pk)
        _, third = rotate_api_key(actor=SYSTEM, key_id=key.pk)
        assert (works(first), works(second), works(third)) == (False, True, True)
        assert key.secrets.count() == 2

    def test_a_third_secret_is_refused_by_the_database(self, cast: Cast) -> None:
        key, _ = make_key(cast.project)
        rotate_api_key(actor=SYSTEM, key_id=key.pk)
        other, _ = make_key(cast.project)
        with pytest.raises(IntegrityError), transaction.atomic():
            ApiKeySecret.objects.filter(key=other).update(key=key)

    @pytest.mark.parametrize("overlap", [timedelta(seconds=-1), timedelta(days=7, seconds=1)])
    def test_an_overlap_is_at_most_seven_days(self, cast: Cast, overlap: timedelta) -> None:
        key, _ = make_key(cast.project)
        with pytest.raises(OutOfRange, match="7 days"):
            rotate_api_key(actor=SYSTEM, key_id=key.pk, overlap=overlap)

    @pytest.mark.parametrize("idle", [timedelta(), timedelta(minutes=4), timedelta(days=8)])
    def test_an_idle_time_has_its_range(self, cast: Cast, idle: timedelta) -> None:
        key, _ = make_key(cast.project)
        with pytest.raises(OutOfRange, match="300 to 604800"):
            rotate_api_key(actor=SYSTEM, key_id=key.pk, idle=idle)

    def test_a_new_secret_is_young_again(self, cast: Cast) -> None:
        key, old = make_key(cast.project)
        key.secrets.update(created_at=timezone.now() - timedelta(days=40))
        SecurityBaseline.objects.create(organization=cast.organization, max_key_age_days=30)
        _, new = rotate_api_key(actor=SYSTEM, key_id=key.pk)
        assert (works(old), works(new)) == (False, True)

    def test_a_stranger_gets_404_and_a_member_403(self, cast: Cast) -> None:
        key, _ = make_key(cast.project)
        with pytest.raises(NotFound, match=f"There is no API key {key.pk}"):
            rotate_api_key(actor=cast.actor(cast.charlie), key_id=key.pk)
        with pytest.raises(PermissionDenied, match="api_key:update"):
            rotate_api_key(actor=cast.actor(cast.bob), key_id=key.pk)

    def test_nobody_gets_the_secret_of_a_key_that_may_do_more_than_they(self, cast: Cast) -> None:
        custom_role_of(cast, Permission.API_KEY_READ, Permission.API_KEY_UPDATE)
        key, old = make_key(cast.project, roles=[Role.DATA_PLANE_EDITOR])
        with pytest.raises(PermissionDenied, match="you lack data:read, data:write"):
            rotate_api_key(actor=cast.actor(cast.bob), key_id=key.pk)
        assert works(old)

    def test_it_is_in_the_audit_trail_without_the_secret(self, cast: Cast) -> None:
        key, _ = make_key(cast.project)
        _, new = rotate_api_key(actor=SYSTEM, key_id=key.pk, idle=None)
        event = AuditEvent.objects.get(type="api_key.rotated", resource_id=str(key.pk))
        assert event.detail["idle_seconds"] is None
        assert new[16:59] not in repr(list(AuditEvent.objects.values()))


class EndOverlapTests:
    def test_the_old_one_ends_now(self, cast: Cast) -> None:
        key, old = make_key(cast.project)
        _, new = rotate_api_key(actor=SYSTEM, key_id=key.pk)
        end_overlap(actor=cast.actor(cast.alice), key_id=key.pk)
        assert (works(old), works(new)) == (False, True)

    def test_where_none_is_left_it_is_412(self, cast: Cast) -> None:
        key, _ = make_key(cast.project)
        with pytest.raises(FailedPrecondition, match="only the current one"):
            end_overlap(actor=SYSTEM, key_id=key.pk)
        rotate_api_key(actor=SYSTEM, key_id=key.pk)
        end_overlap(actor=SYSTEM, key_id=key.pk)
        with pytest.raises(FailedPrecondition):
            end_overlap(actor=SYSTEM, key_id=key.pk)

    def test_a_member_gets_403(self, cast: Cast) -> None:
        give(cast, Role.PROJECT_MEMBER)
        key, _ = make_key(cast.project)
        rotate_api_key(actor=SYSTEM, key_id=key.pk)
        with pytest.raises(PermissionDenied, match="api_key:revoke"):
            end_overlap(actor=cast.actor(cast.bob), key_id=key.pk)


def counted_until(at: datetime) -> None:
    """Every log has been read up to then."""
    UsagePosition.objects.update_or_create(
        source="log", defaults={"inode": "1", "offset": 1, "complete_until": at}
    )


class IdleTests:
    def rotated(self, cast: Cast, idle: timedelta | None = HOUR) -> tuple[ApiKey, str]:
        key, old = make_key(cast.project)
        rotate_api_key(actor=SYSTEM, key_id=key.pk, idle=idle)
        pass_time(key, timedelta(hours=2))
        return key, old

    def test_one_that_is_not_used_ends_before_its_deadline(self, cast: Cast) -> None:
        key, old = self.rotated(cast)
        counted_until(timezone.now())
        assert (end_idle_secrets(), end_idle_secrets()) == (1, 0)
        assert not works(old)
        event = AuditEvent.objects.get(type="api_key.secret_ended")
        assert (event.resource_id, event.detail["reason"]) == (str(key.pk), "Not used any more")

    def test_one_that_is_used_goes_on(self, cast: Cast) -> None:
        key, old = self.rotated(cast)
        counted_until(timezone.now())
        key.secrets.filter(slot="previous").update(last_used_at=timezone.now() - HOUR / 2)
        assert end_idle_secrets() == 0
        assert works(old)

    def test_while_nobody_counts_nothing_is_known_to_be_idle(self, cast: Cast) -> None:
        _, old = self.rotated(cast)
        assert end_idle_secrets() == 0
        counted_until(timezone.now() - timedelta(minutes=90))
        assert end_idle_secrets() == 0
        assert works(old)

    def test_one_log_that_lags_behind_holds_it(self, cast: Cast) -> None:
        self.rotated(cast)
        counted_until(timezone.now())
        UsagePosition.objects.create(
            source="other", inode="1", complete_until=timezone.now() - timedelta(hours=5)
        )
        assert end_idle_secrets() == 0

    def test_without_an_idle_time_only_the_deadline_counts(self, cast: Cast) -> None:
        self.rotated(cast, idle=None)
        counted_until(timezone.now())
        assert end_idle_secrets() == 0

    def test_a_use_read_from_the_log_counts(self, cast: Cast) -> None:
        key, old = self.rotated(cast)
        use = Use(
            at=timezone.now() - timedelta(minutes=10),
            key_id=key.pk,
            secret=old[5:15],
            plane="data",
            operation="Query",
            index_id=None,
            address="192.0.2.1",
            client="old-service/1",
            allowed=True,
        )
        position = Position(1, 10)
        record_usage([use], source="log", before=None, after=position)
        record_usage([], source="log", before=position, after=position)
        assert end_idle_secrets() == 0
        assert works(old)


class UsersTests:
    def test_tells_who_still_uses_the_old_secret(self, cast: Cast) -> None:
        key, old = make_key(cast.project)
        before = self.use(key, old, "gone/1", timezone.now() - HOUR)
        _, new = rotate_api_key(actor=SYSTEM, key_id=key.pk)
        late = self.use(key, old, "late/1", timezone.now() + HOUR)
        more = self.use(key, old, "late/1", timezone.now() + 2 * HOUR, "Upsert")
        ready = self.use(key, new, "ready/1", timezone.now() + HOUR)
        record_usage([before, late, more, ready], source="log", before=None, after=Position(1, 1))
        users = users_of(key)
        assert [(each.client, each.count) for each in users[old[5:15]]] == [("late/1", 2)]
        assert users[old[5:15]][0].last_at == more.at
        assert [each.client for each in users[new[5:15]]] == ["ready/1"]

    def use(
        self, key: ApiKey, text: str, client: str, at: datetime, operation: str = "Query"
    ) -> Use:
        return Use(
            at=at,
            key_id=key.pk,
            secret=text[5:15],
            plane="data",
            operation=operation,
            index_id=uuid.uuid4(),
            address="192.0.2.1",
            client=client,
            allowed=True,
        )


class SecretsTests:
    def test_changing_the_key_leaves_its_secrets_alone(self, cast: Cast) -> None:
        key, old = make_key(cast.project)
        _, new = rotate_api_key(actor=SYSTEM, key_id=key.pk)
        update_api_key(actor=SYSTEM, key_id=key.pk, name="renamed")
        assert (works(old), works(new)) == (True, True)
