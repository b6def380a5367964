"""The search finds what the person may open, and nothing else."""

from __future__ import annotations

import pytest
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from console.search import search
from tests.cast import Cast
from tests.factories import make_project
from tests.indexes.conftest import make_index
from tests.pages import Browser


def found(cast: Cast, person: str, text: str) -> set[str]:
    return {hit.label for hit in search(cast.actor(getattr(cast, person)), text)}


class SearchTests:
    def test_finds_projects_and_indexes_by_name_place_and_id(self, cast: Cast) -> None:
        index = make_index(cast.project, "products")
        for text in ("prod", "PRODUCTS search", str(index.pk)):
            assert "products" in found(cast, "alice", text)
        for text in ("sea", "acme search", str(cast.project.pk)):
            assert "Search" in found(cast, "alice", text)

    def test_nothing_of_other_organizations(self, cast: Cast) -> None:
        make_index(cast.project, "products")
        for text in ("products", "Search", str(cast.project.pk), "Acme"):
            assert not found(cast, "charlie", text)

    def test_nothing_that_the_role_does_not_open(self, cast: Cast) -> None:
        make_index(cast.project, "products")
        assert not found(cast, "bob", "products")
        assert "Single sign-on" in found(cast, "alice", "sign-on")
        assert "Single sign-on" not in found(cast, "bob", "sign-on")

    def test_an_empty_text_finds_pages(self, cast: Cast) -> None:
        assert "Overview" in found(cast, "bob", "")

    @pytest.mark.parametrize(
        "text",
        ["%", "_", "'", "\0", "a" * 5000, "<b>"],
        ids=["percent", "line", "quote", "nul", "huge", "tag"],
    )
    def test_odd_texts_find_nothing_and_break_nothing(self, cast: Cast, text: str) -> None:
        assert not found(cast, "alice", f"{text} nowhere")

    def test_takes_the_same_queries_however_much_there_is(
        self, cast: Cast, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        actor = cast.actor(cast.alice)
        for _ in range(2):
            with django_assert_num_queries(4):
                search(actor, "search")
            for number in range(10):
                make_index(make_project(cast.organization, f"search {number}"), f"s{number}")


class PageTests:
    def test_shows_the_hits_and_keeps_the_text(self, cast: Cast) -> None:
        text = Browser(cast.alice).get("/search/?q=%3Cb%3E").content.decode()
        assert 'value="&lt;b&gt;"' in text
        assert "<b>" not in text
        answer = Browser(cast.alice).get("/search/?q=search")
        assert reverse("console:project", args=[cast.project.pk]) in answer.content.decode()

    def test_the_palette_gets_the_list_alone(self, cast: Cast) -> None:
        text = Browser(cast.alice).get("/search/?q=search&part=1").content.decode()
        assert "<html" not in text
        assert "Search" in text

    def test_strangers_sign_in_first(self, db: None) -> None:
        assert Browser().get("/search/")["Location"].startswith("/accounts/login/")
