"""Pages of the audit log: search, one event, its proof, the export; and of what was denied."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from audit.models import AuditEvent
from audit.sealing import seal_all
from orgs.models import Decision, Organization
from orgs.plans import Plan
from orgs.services.groups import create_group, update_group
from tests.cast import Cast
from tests.pages import Browser


def log(cast: Cast) -> str:
    return reverse("orgs:audit", args=[cast.organization.pk])


def make_group(cast: Cast, name: str = "Relevance") -> AuditEvent:
    """A team, and the event of its making."""
    create_group(actor=cast.actor(cast.alice), organization_id=cast.organization.pk, name=name)
    return AuditEvent.objects.get(type="group.created", resource_label=name)


class SearchTests:
    def test_finds_by_text_event_and_day(self, cast: Cast) -> None:
        event = make_group(cast)
        other = make_group(cast, "Other")
        day = f"{event.time:%Y-%m-%d}"
        for query in ("q=relevance", f"q=Relev&type=group.created&since={day}&until={day}"):
            text = Browser(cast.alice).get(f"{log(cast)}?{query}").content.decode()
            assert str(event.pk) in text
            assert str(other.pk) not in text

    def test_keeps_what_was_typed(self, cast: Cast) -> None:
        text = Browser(cast.alice).get(f"{log(cast)}?q=%3Cb%3E").content.decode()
        assert 'value="&lt;b&gt;"' in text
        assert "Nothing found" in text

    @pytest.mark.parametrize(
        ("query", "said"),
        [
            ("since=yesterday", "Enter a valid date."),
            ("since=2026-02-02&until=2026-02-01", "before the first"),
            ("type=nothing", "not one of the available choices"),
            (f"q={'a' * 201}", "at most 200"),
            ("q=%00", "Null characters"),
        ],
        ids=["date", "order", "type", "long", "nul"],
    )
    def test_says_what_is_wrong_with_a_filter(self, cast: Cast, query: str, said: str) -> None:
        answer = Browser(cast.alice).get(f"{log(cast)}?{query}")
        assert answer.status_code == 422
        assert said in answer.content.decode()

    def test_pages_keep_the_filters(self, cast: Cast) -> None:
        for number in range(51):
            make_group(cast, f"Team {number}")
        text = Browser(cast.alice).get(f"{log(cast)}?type=group.created").content.decode()
        assert "?type=group.created&amp;page=2" in text
        last = Browser(cast.alice).get(f"{log(cast)}?type=group.created&page=2").content.decode()
        assert "Team 0" in last

    def test_shows_nothing_of_other_organizations(self, cast: Cast) -> None:
        make_group(cast)
        path = reverse("orgs:audit", args=[cast.other_organization.pk])
        assert b"Relevance" not in Browser(cast.charlie).get(path).content

    def test_more_events_take_no_more_queries(
        self, cast: Cast, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        browser = Browser(cast.alice)
        browser.get(log(cast))
        with django_assert_num_queries(6):
            browser.get(log(cast))
        for number in range(10):
            make_group(cast, f"Team {number}")
        with django_assert_num_queries(6):
            browser.get(log(cast))


class EventTests:
    def test_shows_before_and_after(self, cast: Cast) -> None:
        event = make_group(cast)
        update_group(
            actor=cast.actor(cast.alice),
            organization_id=cast.organization.pk,
            group_id=event.resource_id,  # type: ignore[arg-type]  # its text does
            name="<Ranking>",
        )
        changed = AuditEvent.objects.get(type="group.updated")
        text = Browser(cast.alice).get(f"{log(cast)}{changed.pk}/").content.decode()
        assert "Relevance" in text
        assert "&lt;Ranking&gt;" in text
        assert "Not sealed yet" in text

    def test_a_sealed_event_brings_its_proof(self, cast: Cast) -> None:
        event = make_group(cast)
        path = f"{log(cast)}{event.pk}/proof/"
        assert Browser(cast.alice).get(path).status_code == 412
        seal_all()
        assert (
            "Download proof" in Browser(cast.alice).get(f"{log(cast)}{event.pk}/").content.decode()
        )
        answer = Browser(cast.alice).get(path)
        assert "attachment" in answer["Content-Disposition"]
        assert json.loads(answer.content)["event_id"] == str(event.pk)

    def test_only_readers_get_the_proof(self, cast: Cast) -> None:
        path = f"{log(cast)}{make_group(cast).pk}/proof/"
        assert Browser(cast.bob).get(path).status_code == 403
        assert Browser(cast.charlie).get(path).status_code == 404
        assert Browser().get(path).status_code == 302


class ExportTests:
    def test_is_a_file_with_all_sealed_events(self, cast: Cast) -> None:
        event = make_group(cast)
        seal_all()
        answer = Browser(cast.alice).post(f"{log(cast)}export/")
        text = answer.getvalue().decode()
        assert "attachment" in answer["Content-Disposition"]
        assert str(event.pk) in text
        assert AuditEvent.objects.filter(type="audit.exported").exists()

    def test_only_readers_export_and_only_by_a_form(self, cast: Cast) -> None:
        path = f"{log(cast)}export/"
        assert Browser(cast.bob).post(path).status_code == 403
        assert Browser(cast.charlie).post(path).status_code == 404
        assert Browser(cast.alice).get(path).status_code == 405
        assert Browser(cast.alice, enforce_csrf_checks=True).post(path).status_code == 403

    def test_a_plan_without_it_shows_no_button(self, cast: Cast) -> None:
        Organization.objects.filter(pk=cast.organization.pk).update(plan=Plan.FREE)
        assert b"audit/export" not in Browser(cast.alice).get(log(cast)).content

    def test_a_bad_day_is_said(self, cast: Cast) -> None:
        assert Browser(cast.alice).post(f"{log(cast)}export/", {"since": "x"}).status_code == 422


class DenialTests:
    def denied(self, cast: Cast) -> str:
        """Bob is denied something; the page that tells why."""
        answer = Browser(cast.bob).get(log(cast))
        assert answer.status_code == 403
        found = Decision.objects.get(actor_id=str(cast.bob.pk))
        path = reverse("orgs:denial", args=[found.pk])
        assert path in answer.content.decode()
        return path

    def test_the_refusal_leads_to_the_reason_and_who_to_ask(self, cast: Cast) -> None:
        text = Browser(cast.bob).get(self.denied(cast)).content.decode()
        assert "audit:read" in text
        assert "OrgMember" in text
        assert cast.alice.email in text

    def test_others_see_it_only_where_they_read_the_log(self, cast: Cast) -> None:
        path = self.denied(cast)
        assert Browser(cast.alice).get(path).status_code == 200
        assert Browser(cast.charlie).get(path).status_code == 404
        assert Browser(cast.alice).get(f"/denials/{uuid4()}/").status_code == 404

    def test_owners_see_all_of_them(self, cast: Cast) -> None:
        path = self.denied(cast)
        listing = Browser(cast.alice).get(f"/organizations/{cast.organization.pk}/denials/")
        assert path in listing.content.decode()
