from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from keys import secrets
from keys.models import ApiKey
from keys.selectors.api_keys import get_key, key_roles, keys_of, verify_key
from keys.services.api_keys import create_api_key, revoke_api_key
from kms.base62 import checksum
from orgs.errors import NotFound, PermissionDenied
from orgs.permissions import ACCESS_ROLES, Role
from tests.cast import Cast
from tests.factories import SYSTEM, make_key, make_project

GRANTS = {
    "ProjectEditor": {"r", "w"},
    "ProjectViewer": {"r"},
    "ControlPlaneEditor": set(),
    "ControlPlaneViewer": set(),
    "DataPlaneEditor": {"r", "w"},
    "DataPlaneViewer": {"r"},
}


class VerifyKeyTests:
    def test_tells_whose_it_is(self, cast: Cast) -> None:
        key = verify_key(cast.key)
        assert key is not None
        assert (key.project_id, key.organization_id) == (cast.project.pk, cast.organization.pk)
        assert key.actor().organization_id == cast.organization.pk

    @pytest.mark.parametrize("role", sorted(ACCESS_ROLES))
    def test_grants_follow_the_role(self, db: None, role: Role) -> None:
        key = verify_key(make_key(roles=[role])[1])
        assert key is not None
        assert key.grants == GRANTS[role.value]

    def test_grants_of_several_roles_add_up(self, db: None) -> None:
        key = verify_key(make_key(roles=[Role.CONTROL_PLANE_EDITOR, Role.DATA_PLANE_VIEWER])[1])
        assert key is not None
        assert key.grants == {"r"}

    def test_takes_two_queries_for_a_key_and_none_for_other_text(
        self, cast: Cast, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        verify_key(cast.key)
        with django_assert_num_queries(2):
            verify_key(cast.key)
        with django_assert_num_queries(0):
            assert verify_key("tmrk_" + "a" * 60) is None

    def test_an_unknown_one_is_none(self, cast: Cast) -> None:
        assert verify_key(secrets.generate().text) is None

    def test_a_wrong_secret_with_a_right_lookup_part_is_none(self, cast: Cast) -> None:
        body = cast.key[:16] + secrets.generate().text[16:59]
        forged = body + checksum(body)
        assert secrets.parse(forged) is not None
        assert verify_key(forged) is None

    def test_a_key_stops_at_its_expiry(self, db: None) -> None:
        key, secret = create_api_key(
            actor=SYSTEM,
            project=make_project(),
            name="short",
            limits={"expires_at": timezone.now() + timedelta(hours=1)},
        )
        assert verify_key(secret) is not None
        ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now())
        assert verify_key(secret) is None

    def test_a_revoked_one_is_none(self, db: None) -> None:
        key, secret = make_key()
        revoke_api_key(actor=SYSTEM, key_id=key.pk)
        assert verify_key(secret) is None

    def test_the_secret_is_nowhere_in_the_database_row(self, db: None) -> None:
        key, secret = make_key()
        row = ApiKey.objects.filter(pk=key.pk).values().get()
        stored = b"\0".join(
            bytes(value) if isinstance(value, (bytes, memoryview)) else str(value).encode()
            for value in row.values()
        )
        assert secret[16:59].encode() not in stored


class ReadTests:
    def test_a_member_without_a_role_in_the_project_is_refused(self, cast: Cast) -> None:
        with pytest.raises(PermissionDenied):
            keys_of(cast.actor(cast.bob), cast.project)

    def test_a_stranger_gets_the_words_for_an_absent_project(self, cast: Cast) -> None:
        with pytest.raises(NotFound, match=f"There is no project {cast.project.pk}"):
            keys_of(cast.actor(cast.charlie), cast.project)

    def test_a_key_of_another_project_is_not_found_in_this_one(self, cast: Cast) -> None:
        other, _ = make_key(make_project(cast.organization))
        with pytest.raises(NotFound):
            get_key(cast.actor(cast.alice), cast.project, other.pk)

    def test_roles_come_in_one_query_for_all(
        self, db: None, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        project = make_project()
        keys = [make_key(project, roles=[Role.DATA_PLANE_VIEWER])[0] for _ in range(3)]
        with django_assert_num_queries(1):
            roles = key_roles(keys)
        assert set(roles) == {key.pk for key in keys}
        assert all(found == ["DataPlaneViewer"] for found in roles.values())
