from __future__ import annotations

from orgs.models import Organization
from projects.models import Project
from projects.services import archive_project
from tests.cast import Cast
from tests.factories import SYSTEM, make_project
from tests.pages import Browser


class OrganizationPageTests:
    def test_shows_the_projects_that_the_person_may_see(self, cast: Cast) -> None:
        make_project(cast.organization, "Second")
        page = f"/organizations/{cast.organization.pk}/"
        owner, member = (Browser(user).get(page).content for user in (cast.alice, cast.bob))
        assert b"Second" in owner
        assert b"New project" in owner
        assert b"Second" not in member
        assert b"New project" not in member
        assert b"No project yet" in member

    def test_tells_which_projects_are_archived(self, cast: Cast) -> None:
        page = f"/organizations/{cast.organization.pk}/"
        assert b"archived" not in Browser(cast.alice).get(page).content
        archive_project(actor=SYSTEM, project_id=cast.project.pk)
        assert b"archived" in Browser(cast.alice).get(page).content


class CreateTests:
    def test_leads_to_the_new_project_and_says_so(self, cast: Cast) -> None:
        browser = Browser(cast.alice)
        path = f"/organizations/{cast.organization.pk}/projects/create/"
        done = browser.post(path, {"name": "  Fresh  "}, follow=True)
        project = Project.objects.get(name="Fresh")
        assert done.redirect_chain == [(f"/projects/{project.pk}/start/", 302)]
        assert b"The project Fresh is ready." in done.content
        assert project.encryption_keys.count() == 1

    def test_mistakes_are_said_and_what_was_typed_is_kept(self, cast: Cast) -> None:
        browser = Browser(cast.alice)
        path = f"/organizations/{cast.organization.pk}/projects/create/"
        for name, text in [("", "required"), ("x" * 513, "at most 512"), ("a\u202eb", "printable")]:
            answer = browser.post(path, {"name": name})
            assert answer.status_code == 422
            assert text in answer.content.decode()
            assert f'value="{name}"' in answer.content.decode() or not name
        assert Project.objects.filter(organization=cast.organization).count() == 1

    def test_a_full_quota_and_arrears_are_said_in_the_form(self, cast: Cast) -> None:
        path = f"/organizations/{cast.organization.pk}/projects/create/"
        for fields, text in (
            ({"overrides": {"max_projects": 1}}, "allows at most 1"),
            ({"payment_status": "PastDue"}, "PastDue"),
        ):
            Organization.objects.filter(pk=cast.organization.pk).update(**fields)
            answer = Browser(cast.alice).post(path, {"name": "More"})
            assert answer.status_code == 422
            assert text in answer.content.decode()
        assert Project.objects.filter(organization=cast.organization).count() == 1
