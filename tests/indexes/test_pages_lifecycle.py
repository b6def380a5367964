"""The pages that make, show, change and delete an index."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from indexes import data_keys
from indexes.models import DataKey, Index, Operation
from indexes.progress import WORDS
from indexes.provisioning import STEPS
from orgs.models import PrincipalType
from orgs.permissions import Role
from orgs.services.bindings import bind_role
from tests.cast import Cast
from tests.factories import SYSTEM
from tests.indexes.conftest import make_index, operation_of
from tests.pages import Browser


def page_of(index: Index, part: str = "") -> str:
    return f"/projects/{index.project_id}/indexes/{index.pk}/{part}"


def wish(**changes: object) -> dict[str, object]:
    """A filled form."""
    shape = {"vector_type": "dense", "dimension": "3", "metric": "cosine"}
    return {"name": "books", "cloud": "aws", "region": "us-east-1", **shape, **changes}


@pytest.fixture
def alice(cast: Cast) -> Browser:
    return Browser(cast.alice)


@pytest.fixture
def index(cast: Cast) -> Index:
    return make_index(cast.project)


class CreateTests:
    def path(self, cast: Cast) -> str:
        return f"/projects/{cast.project.pk}/indexes/create/"

    def test_leads_to_the_page_of_the_index(self, alice: Browser, cast: Cast) -> None:
        form = wish(tags="team=search\n\nstage = live", deletion_protection="on")
        answer = alice.post(self.path(cast), form)
        index = Index.objects.get()
        assert answer["Location"] == page_of(index)
        assert (index.name, index.dimension, index.metric) == ("books", 3, "cosine")
        assert index.tags == {"team": "search", "stage": "live"}
        assert index.deletion_protection

    def test_a_sparse_one(self, alice: Browser, cast: Cast) -> None:
        form = wish(vector_type="sparse", dimension="", metric="dotproduct")
        assert alice.post(self.path(cast), form).status_code == 302
        assert Index.objects.get().dimension is None

    def test_the_same_form_twice_makes_one(self, alice: Browser, cast: Cast) -> None:
        first, second = (alice.post(self.path(cast), wish()) for _ in range(2))
        assert first["Location"] == second["Location"]
        assert Index.objects.count() == 1

    @pytest.mark.parametrize(
        ("changes", "field", "said"),
        [
            ({"name": ""}, "name", "required"),
            ({"name": "Books"}, "name", "lower-case"),
            ({"name": "taken"}, "name", "already"),
            ({"name": "b\0"}, "name", "Null characters"),
            ({"name": "b" * 46}, "name", "at most 45"),
            ({"dimension": ""}, "dimension", "is missing"),
            ({"dimension": "0"}, "dimension", "out of range"),
            ({"dimension": "20001"}, "dimension", "out of range"),
            ({"dimension": "three"}, "dimension", "whole number"),
            ({"vector_type": "sparse"}, "dimension", "sparse index has none"),
            ({"vector_type": "sparse", "dimension": ""}, "metric", "dotproduct only"),
            ({"metric": "hamming"}, "metric", "Select a valid choice"),
            ({"region": "no where"}, "region", "can&#x27;t be used"),
            ({"tags": "nothing"}, "tags", "key=value"),
            ({"tags": "a=1\na=2"}, "tags", "stands twice"),
            ({"tags": "ä=1"}, "tags", "can&#x27;t be used"),
            ({"tags": "\n".join(f"t{n}=x" for n in range(21))}, "tags", "too many"),
        ],
    )
    def test_what_can_not_be_is_told_beside_its_field(
        self, alice: Browser, cast: Cast, changes: dict[str, str], field: str, said: str
    ) -> None:
        make_index(cast.project, "taken", dimension=7)
        answer = alice.post(self.path(cast), wish(**changes))
        assert answer.status_code == 422
        text = answer.content.decode()
        error = text.partition(f'id="id_{field}_error"')[2].partition("</p>")[0]
        assert said in error
        assert Index.objects.count() == 1

    def test_a_full_quota_names_what_sets_it(self, alice: Browser, cast: Cast) -> None:
        type(cast.project).objects.update(max_indexes=0)
        answer = alice.post(self.path(cast), wish())
        assert answer.status_code == 422
        assert "max_indexes allows 0" in answer.content.decode()

    def test_the_list_leads_there(self, alice: Browser, cast: Cast) -> None:
        pages = [alice.get(f"/projects/{cast.project.pk}/indexes/")]
        make_index(cast.project)
        pages.append(alice.get(f"/projects/{cast.project.pk}/indexes/"))
        for page in pages:
            assert f'href="{self.path(cast)}"' in page.content.decode()


class OverviewTests:
    def test_every_step_has_its_words(self) -> None:
        assert WORDS.keys() == {name for steps in STEPS.values() for name in steps}

    def test_shows_how_far_it_is(self, alice: Browser, index: Index) -> None:
        Operation.objects.update(step="write_files")
        text = alice.get(page_of(index)).content.decode()
        assert "2 of 6 steps done" in text
        assert 'hx-trigger="every 1s"' in text
        assert text.index(WORDS["make_key"]) < text.index(">now<") < text.index(WORDS["start"])

    def test_a_failure_names_cause_and_remedy(self, alice: Browser, index: Index) -> None:
        Operation.objects.update(state="failed", step="start", finished_at=timezone.now())
        Index.objects.update(state="InitializationFailed", cause="No <room>.", remedy="Make some.")
        text = alice.get(page_of(index)).content.decode()
        assert "No &lt;room&gt;." in text
        assert "Make some." in text
        assert "hx-get" not in text

    def test_ready_with_address_and_commands(self, alice: Browser, index: Index) -> None:
        operation = operation_of(index)
        operation.state, operation.finished_at = "succeeded", timezone.now()
        operation.save()
        Index.objects.update(state="Ready")
        text = alice.get(page_of(index)).content.decode()
        assert f"localhost:{index.gateway_port}" in text
        for part in ('pc.Index("products")', 'pc.index({ name: "products" })', "[0.1] * 3"):
            assert part in text
        assert "Wait until" not in text

    def test_what_was_deleted_says_so(self, alice: Browser, index: Index) -> None:
        data_keys.make(index)
        data_keys.shred(index.pk)
        Index.objects.update(state="Terminating", deleted_at=timezone.now())
        text = alice.get(page_of(index)).content.decode()
        assert "This index is deleted" in text
        for part in ("configuration/", "encryption/", "delete/"):
            assert alice.get(page_of(index, part)).status_code == 404

    def test_a_role_on_this_index_alone_is_enough(self, cast: Cast, index: Index) -> None:
        other = make_index(cast.project, "other")
        bind_role(
            actor=SYSTEM,
            organization_id=cast.organization.pk,
            principal=(PrincipalType.USER, cast.bob.pk),
            role=Role.CONTROL_PLANE_VIEWER,
            resource_id=index.pk,
            index_in=index.project_id,
        )
        bob = Browser(cast.bob)
        assert bob.get(page_of(index)).status_code == 200
        assert bob.get(page_of(other)).status_code in {403, 404}
        assert b"Delete" not in bob.get(page_of(index)).content

    def test_other_projects_and_tenants_find_nothing(self, cast: Cast, index: Index) -> None:
        assert Browser(cast.charlie).get(page_of(index)).status_code == 404
        theirs = f"/projects/{cast.other_project.pk}/indexes/{index.pk}/"
        assert Browser(cast.charlie).get(theirs).status_code == 404

    def test_a_constant_number_of_queries(self, alice: Browser, cast: Cast, index: Index) -> None:
        def count() -> int:
            with CaptureQueriesContext(connection) as queries:
                alice.get(page_of(index))
            return len(queries)

        count()
        before = count()
        for number in range(8):
            make_index(cast.project, f"more-{number}")
        assert count() == before


class ConfigurationTests:
    def test_changes_tags_and_protection(self, alice: Browser, index: Index) -> None:
        form = {"tags": "a=1\nb=2", "tags_shown": "", "deletion_protection": "on"}
        assert alice.post(page_of(index, "configuration/"), form).status_code == 302
        index.refresh_from_db()
        assert (index.tags, index.deletion_protection) == ({"a": "1", "b": "2"}, True)

    def test_leaves_what_others_changed_meanwhile(self, alice: Browser, index: Index) -> None:
        Index.objects.update(tags={"a": "1", "theirs": "new"})
        form = {"tags": "b=2", "tags_shown": "a=1"}
        alice.post(page_of(index, "configuration/"), form)
        index.refresh_from_db()
        assert index.tags == {"b": "2", "theirs": "new"}

    def test_a_bad_tag_is_told_beside_the_field_and_kept(
        self, alice: Browser, index: Index
    ) -> None:
        form = {"tags": "a b=1", "tags_shown": ""}
        answer = alice.post(page_of(index, "configuration/"), form)
        assert answer.status_code == 422
        text = answer.content.decode()
        assert "id_tags_error" in text
        assert "a b=1</textarea>" in text

    def test_what_is_being_deleted_stays(self, alice: Browser, index: Index) -> None:
        Index.objects.update(state="Terminating")
        answer = alice.post(page_of(index, "configuration/"), {"tags": "", "tags_shown": ""})
        assert answer.status_code == 422
        assert b"being deleted" in answer.content


class EncryptionTests:
    def test_shows_keys_by_name_and_never_their_bytes(self, alice: Browser, index: Index) -> None:
        data_keys.make(index)
        key = DataKey.objects.get()
        text = alice.get(page_of(index, "encryption/")).content.decode()
        assert "Data key, version 1" in text
        assert f"project:{index.project_id}" in text or str(index.project_id) in text
        assert key.wrapped not in text
        assert "There is no server at the moment." in text

    def test_says_when_a_key_was_destroyed(self, alice: Browser, index: Index) -> None:
        data_keys.make(index)
        data_keys.shred(index.pk)
        assert b"destroyed" in alice.get(page_of(index, "encryption/")).content


class DeleteTests:
    def test_asks_for_the_name(self, alice: Browser, index: Index) -> None:
        for typed in ("", "product", "PRODUCTS"):
            answer = alice.post(page_of(index, "delete/"), {"confirm": typed})
            assert answer.status_code == 422
        index.refresh_from_db()
        assert index.state == Index.State.INITIALIZING
        answer = alice.post(page_of(index, "delete/"), {"confirm": "products"})
        assert answer["Location"] == page_of(index)
        index.refresh_from_db()
        assert index.state == Index.State.TERMINATING
        text = alice.get(page_of(index)).content.decode()
        assert "Being deleted" in text
        # Once more does no harm.
        assert alice.post(page_of(index, "delete/"), {"confirm": "products"}).status_code == 302

    def test_protection_holds_and_shows_the_way_out(self, alice: Browser, index: Index) -> None:
        Index.objects.update(deletion_protection=True)
        assert (
            page_of(index, "configuration/")
            in alice.get(page_of(index, "delete/")).content.decode()
        )
        answer = alice.post(page_of(index, "delete/"), {"confirm": "products"})
        assert answer.status_code == 422
        index.refresh_from_db()
        assert index.state == Index.State.INITIALIZING
