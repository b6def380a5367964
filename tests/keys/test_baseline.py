from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from keys.models import ApiKey, ApiKeySecret
from keys.selectors.api_keys import verify_key
from keys.services.api_keys import revoke_api_key
from keys.services.rotation import rotate_api_key
from keys.usage import Position, Use, record_usage
from orgs.baseline import Demands, locked_out
from orgs.models import SecurityBaseline
from tests.cast import Cast
from tests.factories import SYSTEM, make_key, make_project


def aged(key: ApiKey, days: int) -> None:
    """As if the key's secret had been made so long ago."""
    ApiKeySecret.objects.filter(key=key).update(created_at=timezone.now() - timedelta(days=days))


def used(*uses: tuple[ApiKey, str]) -> None:
    """The keys were let in from these addresses."""
    base: dict[str, Any] = {
        "at": timezone.now(),
        "plane": "data",
        "operation": "Query",
        "index_id": None,
        "client": "",
        "allowed": True,
    }
    record_usage(
        [
            Use(key_id=key.pk, secret=key.current_secret.lookup_id, address=address, **base)
            for key, address in uses
        ],
        source="log",
        before=None,
        after=Position(1, 1),
    )


def keys_stopped_by(cast: Cast, **demands: Any) -> dict[str, str]:
    """Name and reason of every key that would stop."""
    found = locked_out(cast.organization.pk, Demands(**demands))
    return {each.label: each.reason for each in found if each.kind == "api_key"}


class ProbeTests:
    def test_it_lists_the_keys_that_would_stop_and_those_only(self, cast: Cast) -> None:
        old, text = make_key(cast.project, name="old")
        young, _ = make_key(cast.project, name="young")
        gone, _ = make_key(cast.project, name="gone")
        for key, days in ((old, 90), (young, 89), (gone, 200)):
            aged(key, days)
        revoke_api_key(actor=SYSTEM, key_id=gone.pk)
        aged(make_key(cast.other_project, name="foreign")[0], 200)
        assert keys_stopped_by(cast) == {}
        assert keys_stopped_by(cast, max_key_age_days=90) == {
            "old": "has a secret that is 90 days old"
        }
        # What it foretold comes true.
        SecurityBaseline.objects.create(organization=cast.organization, max_key_age_days=90)
        assert verify_key(text) is None

    def test_rotating_takes_a_key_off_the_list(self, cast: Cast) -> None:
        key, _ = make_key(cast.project, name="old")
        aged(key, 100)
        rotate_api_key(actor=SYSTEM, key_id=key.pk)
        assert keys_stopped_by(cast, max_key_age_days=90) == {}

    def test_keys_used_from_other_networks_are_on_it(self, cast: Cast) -> None:
        inside, _ = make_key(cast.project, name="inside")
        outside, _ = make_key(cast.project, name="outside")
        used((inside, "192.0.2.1"), (outside, "192.0.2.1"), (outside, "2001:db8::1"))
        assert keys_stopped_by(cast, ip_ranges=("192.0.2.0/24",)) == {
            "outside": "was used from 2001:db8::1, outside of the ranges"
        }

    @pytest.mark.parametrize("count", [1, 8])
    def test_takes_as_many_queries_for_many_keys_as_for_one(
        self, cast: Cast, count: int, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        project = make_project(cast.organization)
        for _ in range(count):
            aged(make_key(project)[0], 9)
        with django_assert_num_queries(6):  # two each for people, keys, service accounts
            locked_out(
                cast.organization.pk, Demands(max_key_age_days=1, ip_ranges=("192.0.2.0/24",))
            )
