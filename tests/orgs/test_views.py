from __future__ import annotations

from orgs.models import Membership
from tests.cast import Cast
from tests.factories import make_organization, make_user
from tests.pages import Browser


class HomeTests:
    def test_leads_into_the_only_organization(self, cast: Cast) -> None:
        answer = Browser(cast.bob).get("/")
        assert answer["Location"] == f"/organizations/{cast.organization.pk}/"

    def test_lists_several_and_none_of_others(self, cast: Cast) -> None:
        second = make_organization(cast.alice, "Second & <b>Son</b>")
        text = Browser(cast.alice).get("/").content.decode()
        assert f"/organizations/{cast.organization.pk}/" in text
        assert f"/organizations/{second.pk}/" in text
        assert "Second &amp; &lt;b&gt;Son&lt;/b&gt;" in text
        assert "Umbrella" not in text

    def test_teaches_somebody_who_belongs_nowhere(self, db: None) -> None:
        text = Browser(make_user("new@example.com")).get("/").content.decode()
        assert "You belong to no organization yet" in text
        assert "manage.py create_owner --email new@example.com" in text

    def test_a_membership_without_a_role_shows_nothing(self, cast: Cast) -> None:
        Membership.objects.create(user=cast.charlie, organization=cast.organization)
        answer = Browser(cast.charlie).get("/")
        assert answer["Location"] == f"/organizations/{cast.other_organization.pk}/"
        page = f"/organizations/{cast.organization.pk}/"
        assert Browser(cast.charlie).get(page).status_code == 404
