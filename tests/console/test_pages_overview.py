"""The organization and a project at a glance, and the way to the first query."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from indexes.models import Index, IndexStatistics, IndexTraffic
from indexes.usage import Call, record_traffic
from keys.models import ApiKey
from keys.usage import Position, Use, record_usage
from orgs.models import Organization
from tests.cast import Cast
from tests.factories import make_key, make_member, make_project
from tests.indexes.conftest import make_index
from tests.pages import Browser
from tests.sso import idp
from tests.sso.support import make_connection


@pytest.fixture
def alice(cast: Cast) -> Browser:
    return Browser(cast.alice)


def shown(browser: Browser, path: str) -> str:
    answer = browser.get(path)
    assert answer.status_code == 200
    return str(answer.content.decode())


def overview(cast: Cast) -> str:
    return f"/organizations/{cast.organization.pk}/"


def made(cast: Cast, name: str, **fields: Any) -> Index:
    index = make_index(cast.project, name)
    Index.objects.filter(pk=index.pk).update(**fields)
    return index


class OrganizationTests:
    def test_sums_up_what_the_person_may_see(self, alice: Browser, cast: Cast) -> None:
        index = made(cast, "one", state="Ready")
        made(cast, "two", state="Ready", cause="It fell over.")
        made(cast, "three")
        theirs = make_index(cast.other_project)
        now = timezone.now()
        for each, records in ((index, 1200), (theirs, 10**6)):
            IndexStatistics.objects.create(
                index=each, records=records, namespaces=1, bytes=2**20, measured_at=now
            )
            call = Call(now, each.pk, IndexTraffic.Kind.READ, False, False, 1, 1, 2.0)
            record_traffic([call] * 7)
        text = shown(alice, overview(cast))
        for part in ("1 Ready", "1 Trouble", "1 Initializing", "1200", "<dd>\n          7"):
            assert part.split()[-1] in text
        assert "1 M" not in text
        member = shown(Browser(cast.bob), overview(cast))
        assert "Ready" not in member
        assert "1200" not in member

    def test_what_happened_is_for_those_who_read_the_audit_log(
        self, alice: Browser, cast: Cast
    ) -> None:
        assert "What happened last" in shown(alice, overview(cast))
        assert "What happened last" not in shown(Browser(cast.bob), overview(cast))

    def test_names_what_needs_a_look_and_where(self, alice: Browser, cast: Cast) -> None:
        index = made(cast, "broken", state="InitializationFailed", cause="No <room>.")
        soon = timezone.now() + timedelta(days=3)
        old = timezone.now() - timedelta(days=120)
        ending, idle = make_key(cast.project, name="ending")[0], make_key(cast.project)[0]
        ApiKey.objects.filter(pk=ending.pk).update(expires_at=soon)
        ApiKey.objects.filter(pk=idle.pk).update(created_at=old, name="idle")
        connection_ = make_connection(cast.organization, name="Okta")
        certificate = idp.add_certificate(connection_, idp.pair())
        type(certificate).objects.update(not_after=soon)
        text = shown(alice, overview(cast))
        for part in (
            "The index broken does not serve",
            "No &lt;room&gt;.",
            f"/projects/{cast.project.pk}/indexes/{index.pk}/",
            "The API key ending ends soon",
            "The API key idle is not used",
            "A certificate of Okta ends soon",
            "Only one owner can come in",
            "1 owner without a second factor",
        ):
            assert part in text
        member = shown(Browser(cast.bob), overview(cast))
        assert "Needs your attention" not in member

    def test_a_constant_number_of_queries(self, alice: Browser, cast: Cast) -> None:
        def count() -> int:
            with CaptureQueriesContext(connection) as queries:
                shown(alice, overview(cast))
            return len(queries)

        made(cast, "first", state="InitializationFailed", cause="x")
        count()
        before = count()
        for number in range(8):
            made(cast, f"more-{number}", state="InitializationFailed", cause="x")
            make_project(cast.organization)
            make_member(cast.organization)
        assert count() == before


class NewOrganizationTests:
    def test_leads_on_to_its_first_project(self, alice: Browser, cast: Cast) -> None:
        answer = alice.post("/organizations/create/", {"name": "Second"})
        organization = Organization.objects.get(name="Second")
        assert answer["Location"] == f"/organizations/{organization.pk}/projects/create/"
        assert b"is yours" in alice.get(answer["Location"]).content
        assert b"New organization" in alice.get("/").content

    @pytest.mark.parametrize("name", ["", "x" * 513, "a\u202eb", "a\0b"])
    def test_a_name_that_can_not_be(self, alice: Browser, cast: Cast, name: str) -> None:
        assert alice.post("/organizations/create/", {"name": name}).status_code == 422
        assert Organization.objects.count() == 2

    def test_who_owns_none_is_told_how(self, cast: Cast) -> None:
        answer = Browser(cast.bob).post("/organizations/create/", {"name": "Mine"})
        assert answer.status_code == 403
        assert b"manage.py create_owner" in answer.content


class FirstRunTests:
    def path(self, cast: Cast) -> str:
        return f"/projects/{cast.project.pk}/start/"

    def states(self, browser: Browser, cast: Cast) -> list[str]:
        parts = shown(browser, self.path(cast)).split('class="step step-')[1:]
        return [part.partition(" ")[0] for part in parts]

    def test_step_by_step(self, alice: Browser, cast: Cast) -> None:
        ApiKey.objects.all().delete()
        assert self.states(alice, cast) == ["done", "now", "later", "later"]
        assert 'hx-trigger="every 2s"' in shown(alice, self.path(cast))
        key = make_key(cast.project)[0]
        assert self.states(alice, cast) == ["done", "done", "now", "later"]
        index = made(cast, "books")
        assert self.states(alice, cast) == ["done", "done", "now", "later"]
        Index.objects.update(state="Ready")
        assert self.states(alice, cast) == ["done", "done", "done", "now"]
        assert 'pc.Index("books")' in shown(alice, self.path(cast))
        self.call(key, index, "DescribeIndexStats")
        assert self.states(alice, cast)[-1] == "now"
        self.call(key, index, "Query", allowed=False)
        assert self.states(alice, cast)[-1] == "now"
        self.call(key, index, "Query")
        assert self.states(alice, cast)[-1] == "done"
        text = shown(alice, self.path(cast))
        assert "It has arrived" in text
        assert "python-client &lt;10&gt;" in text
        assert "hx-get" not in text
        assert "Get started" not in shown(alice, f"/projects/{cast.project.pk}/")

    def call(self, key: ApiKey, index: Index, operation: str, *, allowed: bool = True) -> None:
        use = Use(
            at=timezone.now(),
            key_id=key.pk,
            secret=key.current_secret.lookup_id,
            plane="data",
            operation=operation,
            index_id=index.pk,
            address="192.0.2.7",
            client="python-client <10>",
            allowed=allowed,
        )
        source = f"{operation}-{allowed}"
        assert record_usage([use], source=source, before=None, after=Position(1, 1))

    def test_who_may_make_nothing_gets_no_buttons(self, cast: Cast) -> None:
        ApiKey.objects.all().delete()
        make_key(cast.project)
        text = shown(Browser(cast.alice), self.path(cast))
        assert "Create an index" in text
        assert Browser(cast.bob).get(self.path(cast)).status_code == 404
