"""What docs/audit.md lists has to be what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings

from audit.documents import document_of
from audit.models import Stream
from audit.streams.configuration import fields_of
from orgs.api.urls import urlpatterns
from tests.audit.support import make_event

PAGE = Path(settings.BASE_DIR) / "docs" / "audit.md"


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading."""
    section = PAGE.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


class PageTests:
    @pytest.mark.django_db
    def test_every_field_of_an_event_is_described(self) -> None:
        described = {
            name for row in rows("What is recorded") for name in re.findall(r"`(\w+)`", row[0])
        }
        assert described == document_of(make_event(None)).keys()

    def test_every_route_is_described(self) -> None:
        described = set()
        for row in rows("Over the API"):
            for request in re.findall(r"`([^`]+)`", row[0]):
                path = request.split()[-1].split("[")[0].split("?")[0]
                if not path.isupper():
                    described.add("admin/audit/" + path.replace("<id>", "<>"))
        routes = {
            re.sub(r"<uuid:\w+>", "<>", str(each.pattern))
            for each in urlpatterns
            if str(each.pattern).startswith("admin/audit/")
        }
        assert described == routes

    def test_every_field_of_a_configuration_is_described(self) -> None:
        described = {row[0].strip("`"): row[1] for row in rows("Sending events on")}
        assert described.keys() == {kind.value for kind in Stream.Kind}
        for kind in Stream.Kind:
            assert set(fields_of(kind)) == set(re.findall(r"`(\w+)`", described[kind])) - {"secret"}

    def test_links_lead_somewhere(self) -> None:
        for target in re.findall(r"\]\(([^)#]+)\)", PAGE.read_text()):
            assert (PAGE.parent / target).exists(), target
