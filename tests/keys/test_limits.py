"""What a key can be limited to, and that each limit holds where keys are verified."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any
from typing import cast as cast_to

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from keys.models import ApiKey, ApiKeySecret
from keys.selectors.api_keys import State, VerifiedKey, find_key, state_of, stops_at, verify_key
from keys.services.api_keys import create_api_key, disable_api_key, update_api_key
from keys.services.limits import Limits
from orgs.errors import InvalidArgument
from orgs.models import SecurityBaseline
from orgs.permissions import Permission, Role, permissions_of
from projects.models import Project
from tests.cast import Cast
from tests.factories import SYSTEM, make_project
from tests.indexes.conftest import make_index

P = Permission


def limited(project: Project, role: Role = Role.PROJECT_EDITOR, **limits: Any) -> VerifiedKey:
    """A key with these limits, as it is verified."""
    _, text = create_api_key(
        actor=SYSTEM, project=project, name="limited", roles=[role], limits=cast_to(Limits, limits)
    )
    found = verify_key(text)
    assert found is not None
    return found


def may(key: VerifiedKey, index_id: uuid.UUID | None = None) -> frozenset[Permission]:
    """What the key may do in its project, or to one index."""
    return permissions_of(
        key.actor(),
        organization_id=key.organization_id,
        project_id=key.project_id,
        index_id=index_id,
    )


def baseline(cast: Cast, **demands: Any) -> None:
    """The organization demands this."""
    SecurityBaseline.objects.update_or_create(organization=cast.organization, defaults=demands)


class AccessTests:
    @pytest.mark.parametrize(
        ("access", "grants", "allowed"),
        [
            (
                "read_write",
                {"r", "w"},
                {P.INDEX_READ, P.INDEX_CREATE, P.INDEX_CONFIGURE, P.INDEX_DELETE, P.DATA_READ}
                | {P.DATA_WRITE},
            ),
            ("read_only", {"r"}, {P.INDEX_READ, P.DATA_READ}),
            (
                "write_only",
                {"w"},
                {P.INDEX_CREATE, P.INDEX_CONFIGURE, P.INDEX_DELETE, P.DATA_WRITE},
            ),
        ],
    )
    def test_it_narrows_records_and_indexes_alike(
        self, cast: Cast, access: str, grants: set[str], allowed: set[Permission]
    ) -> None:
        key = limited(cast.project, access=access)
        assert key.grants == grants
        assert may(key) == allowed

    @pytest.mark.parametrize("access", ["read_only", "write_only"])
    @pytest.mark.parametrize("role", [Role.DATA_PLANE_VIEWER, Role.CONTROL_PLANE_VIEWER])
    def test_it_never_adds_to_a_role(self, cast: Cast, role: Role, access: str) -> None:
        assert may(limited(cast.project, role, access=access)) <= may(limited(cast.project, role))

    def test_an_unknown_one_is_refused(self, cast: Cast) -> None:
        with pytest.raises(InvalidArgument, match="use read_write, read_only, write_only"):
            limited(cast.project, access="admin")


class IndexesTests:
    def test_a_key_reaches_its_indexes_and_no_others(self, cast: Cast) -> None:
        mine, other = make_index(cast.project, "mine"), make_index(cast.project, "other")
        key = limited(cast.project, index_ids=[mine.pk, mine.pk])
        assert key.indexes == frozenset({mine.pk})
        assert key.grants == {"r", "w"}
        assert key.refusal(ip="", index_id=mine.pk) == ""
        assert "limited to other indexes" in key.refusal(ip="", index_id=other.pk)
        assert P.DATA_READ in may(key, mine.pk)
        assert may(key, other.pk) == frozenset()

    def test_it_makes_no_index_and_lists_none_of_the_project(self, cast: Cast) -> None:
        index = make_index(cast.project)
        key = limited(cast.project, index_ids=[index.pk])
        assert may(key) == frozenset()
        assert P.INDEX_CREATE not in may(key, index.pk)

    def test_an_index_of_another_project_is_refused_as_one_that_is_not(self, cast: Cast) -> None:
        foreign = make_index(make_project(cast.organization))
        texts = []
        for index_id in (foreign.pk, make_index(cast.other_project).pk, uuid.uuid4()):
            with pytest.raises(InvalidArgument, match="own project only") as refused:
                limited(cast.project, index_ids=[index_id])
            texts.append(refused.value.message.replace(str(index_id), "?"))
        assert len(set(texts)) == 1

    def test_an_index_that_is_deleted_leaves_the_key_with_less(self, cast: Cast) -> None:
        gone, stays = make_index(cast.project, "gone"), make_index(cast.project, "stays")
        key = limited(cast.project, index_ids=[gone.pk, stays.pk])
        gone.deleted_at = timezone.now()
        gone.save()
        again = make_index(cast.project, "gone")
        assert "limited to other indexes" in key.refusal(ip="", index_id=again.pk)
        # What a client read it may send back.
        changed = update_api_key(
            actor=SYSTEM, key_id=key.id, limits={"index_ids": [gone.pk, stays.pk]}
        )
        assert changed.index_ids == [str(gone.pk), str(stays.pk)]

    @pytest.mark.parametrize("ids", [[], [uuid.uuid4() for _ in range(101)]])
    def test_none_and_too_many_are_refused(self, cast: Cast, ids: list[uuid.UUID]) -> None:
        with pytest.raises(InvalidArgument, match="name 1 to 100"):
            limited(cast.project, index_ids=ids)


class NamespacesTests:
    def test_names_are_exact_and_the_default_one_is_empty(self, cast: Cast) -> None:
        key = limited(cast.project, namespaces=["__default__", "a", "", "A", "a"])
        assert key.namespaces == frozenset({"", "a", "A"})

    def test_such_a_key_changes_no_index_as_a_whole(self, cast: Cast) -> None:
        key = limited(cast.project, namespaces=["a"])
        assert may(key) == {P.INDEX_READ, P.DATA_READ, P.DATA_WRITE}

    @pytest.mark.parametrize(
        "names", [[], ["x" * 513], ["ä"], ["a\0b"], ["\ud800"], [str(n) for n in range(51)]]
    )
    def test_bad_names_are_refused(self, cast: Cast, names: list[str]) -> None:
        with pytest.raises(InvalidArgument, match="namespaces"):
            limited(cast.project, namespaces=names)

    @pytest.mark.parametrize("letter", ["x", "%"])
    def test_together_they_fit_into_a_header(self, cast: Cast, letter: str) -> None:
        size = 499 if letter == "x" else 166  # % is %25 there
        names = [f"{n}" + letter * size for n in range(9)]
        with pytest.raises(InvalidArgument, match="at most 4000 together"):
            limited(cast.project, namespaces=names)
        assert limited(cast.project, namespaces=names[:7]).namespaces == frozenset(names[:7])


class AddressTests:
    @pytest.mark.parametrize("ip", ["192.0.2.7", "2001:db8::1"])
    def test_inside_of_a_range_is_let_in(self, cast: Cast, ip: str) -> None:
        key = limited(cast.project, allowed_ips=["192.0.2.0/24", "2001:db8::/48"])
        assert key.refusal(ip=ip, index_id=None) == ""

    @pytest.mark.parametrize("ip", ["192.0.3.7", "2001:db8:1::1", "", "nonsense"])
    def test_elsewhere_the_holder_hears_why(self, cast: Cast, ip: str) -> None:
        key = limited(cast.project, allowed_ips=["192.0.2.0/24", "2001:db8::/48"])
        assert "may not be used from the address" in key.refusal(ip=ip, index_id=None)

    def test_ranges_of_the_organization_hold_for_keys_too(self, cast: Cast) -> None:
        baseline(cast, ip_ranges=["198.51.100.0/24"])
        key = limited(cast.project, allowed_ips=["192.0.2.0/24"])
        assert "The organization lets nobody in" in key.refusal(ip="192.0.2.7", index_id=None)
        assert "may not be used" in key.refusal(ip="198.51.100.7", index_id=None)
        free = verify_key(cast.key)
        assert free is not None
        assert free.refusal(ip="198.51.100.7", index_id=None) == ""

    @pytest.mark.parametrize(
        "text",
        ["", "x", "::ffff:10.0.0.0/104", "10.0.0.0/33", "fe80::1%eth0", "1.2.3", "0x7f.1", "\0"],
    )
    def test_what_is_no_range_is_refused(self, cast: Cast, text: str) -> None:
        with pytest.raises(InvalidArgument, match=r"is no address range|in IPv6 form"):
            limited(cast.project, allowed_ips=[text])

    def test_a_single_address_is_a_range(self, cast: Cast) -> None:
        key = limited(cast.project, allowed_ips=["192.0.2.7", "::1", "10.1.2.3/8", "10.0.0.0/8"])
        assert key.allowed_ips == ("192.0.2.7/32", "::1/128", "10.0.0.0/8")

    def test_too_many_are_refused(self, cast: Cast) -> None:
        with pytest.raises(InvalidArgument, match="at most 100"):
            limited(cast.project, allowed_ips=[f"10.0.0.{n}" for n in range(101)])


class TimeTests:
    def make(self, cast: Cast, **limits: Any) -> tuple[ApiKey, str]:
        return create_api_key(
            actor=SYSTEM, project=cast.project, name="timed", limits=cast_to(Limits, limits)
        )

    def test_a_key_does_not_work_before_its_time(self, cast: Cast) -> None:
        key, text = self.make(cast, not_before=timezone.now() + timedelta(hours=1))
        assert verify_key(text) is None
        assert state_of(key) == State.NOT_YET
        update_api_key(actor=SYSTEM, key_id=key.pk, limits={"not_before": timezone.now()})
        assert verify_key(text) is not None

    def test_an_expiry_before_the_beginning_is_refused(self, cast: Cast) -> None:
        later = timezone.now() + timedelta(days=2)
        with pytest.raises(InvalidArgument, match="before it begins to work"):
            self.make(cast, not_before=later, expires_at=later - timedelta(days=1))

    @pytest.mark.parametrize("field", ["not_before", "expires_at"])
    @pytest.mark.parametrize(
        "at", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)]
    )
    def test_times_out_of_reach_are_refused(self, cast: Cast, field: str, at: datetime) -> None:
        with pytest.raises(InvalidArgument, match="out of reach"):
            self.make(cast, **{field: at})

    def test_a_secret_older_than_the_organization_allows_does_not_work(self, cast: Cast) -> None:
        key, text = self.make(cast)
        ApiKeySecret.objects.filter(key=key).update(
            created_at=timezone.now() - timedelta(days=30, seconds=5)
        )
        assert verify_key(text) is not None
        baseline(cast, max_key_age_days=31)
        assert verify_key(text) is not None
        baseline(cast, max_key_age_days=30)
        assert verify_key(text) is None
        key = find_key(cast.actor(cast.alice), key.pk)
        assert state_of(key) == State.EXPIRED
        assert stops_at(key) == key.current_secret.created_at + timedelta(days=30)

    def test_the_limit_is_not_reached_by_an_old_key_of_another_organization(
        self, cast: Cast
    ) -> None:
        ApiKeySecret.objects.update(created_at=timezone.now() - timedelta(days=400))
        baseline(cast, max_key_age_days=1)
        assert verify_key(cast.key) is None
        assert verify_key(cast.other_key) is not None

    def test_an_expiry_beyond_the_maximum_age_is_refused(self, cast: Cast) -> None:
        baseline(cast, max_key_age_days=30)
        with pytest.raises(InvalidArgument, match="no key grow older than 30 days"):
            self.make(cast, expires_at=timezone.now() + timedelta(days=31))
        key, _ = self.make(cast, expires_at=timezone.now() + timedelta(days=29))
        assert stops_at(key) == key.expires_at


class DisabledTests:
    def test_a_disabled_key_is_none(self, cast: Cast) -> None:
        key, text = create_api_key(actor=SYSTEM, project=cast.project, name="a")
        disable_api_key(actor=SYSTEM, key_id=key.pk)
        assert verify_key(text) is None


class ArchivedTests:
    def test_the_key_of_an_archived_project_hears_so(self, cast: Cast) -> None:
        cast.project.archived_at = timezone.now()
        cast.project.save()
        key = verify_key(cast.key)
        assert key is not None
        assert "is archived" in key.refusal(ip="192.0.2.7", index_id=None)


class VerifyTests:
    def test_takes_two_queries_however_limited(
        self, cast: Cast, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        baseline(cast, ip_ranges=["192.0.2.0/24"], max_key_age_days=30)
        indexes = [make_index(cast.project, f"index-{n}") for n in range(5)]
        _, text = create_api_key(
            actor=SYSTEM,
            project=cast.project,
            name="limited",
            roles=[Role.DATA_PLANE_EDITOR, Role.CONTROL_PLANE_VIEWER],
            limits={
                "index_ids": [index.pk for index in indexes],
                "namespaces": ["a", "b"],
                "allowed_ips": ["192.0.2.0/25"],
            },
        )
        with django_assert_num_queries(2):
            key = verify_key(text)
            assert key is not None
            assert key.refusal(ip="192.0.2.7", index_id=indexes[0].pk) == ""

    def test_it_names_the_secret_that_was_shown(self, cast: Cast) -> None:
        key, text = create_api_key(actor=SYSTEM, project=cast.project, name="a")
        verified = verify_key(text)
        assert verified is not None
        assert verified.secret == text[5:15] == key.current_secret.lookup_id


class ConstraintTests:
    @pytest.mark.parametrize(
        "values",
        [
            {"access": "admin"},
            {"leak_policy": "shrug"},
            {"disabled_reason": "because"},
            {
                "not_before": datetime(2026, 2, 1, tzinfo=UTC),
                "expires_at": datetime(2026, 1, 1, tzinfo=UTC),
            },
        ],
        ids=lambda values: next(iter(values)),
    )
    def test_the_database_refuses_what_must_not_be(
        self, cast: Cast, values: dict[str, object]
    ) -> None:
        with pytest.raises(IntegrityError), transaction.atomic():
            ApiKey.objects.filter(project=cast.project).update(**values)
