"""What directories really send: Okta and Entra, with their capitals, texts and detours."""

from __future__ import annotations

from typing import Any

import pytest

from sso.models import ScimGroup, ScimUser
from tests.cast import Cast
from tests.sso.scim.support import DOMAIN, ENTERPRISE, GROUP, PATCH, USER, Directory, make_directory

pytestmark = pytest.mark.django_db
EMAIL = f"dana@{DOMAIN}"


@pytest.fixture
def directory(cast: Cast) -> Directory:
    return make_directory(cast.organization)


@pytest.fixture
def dana(directory: Directory) -> str:
    return str(directory.create_user()["id"])


@pytest.fixture
def fox(directory: Directory) -> str:
    return str(directory.create_user(f"fox@{DOMAIN}")["id"])


def patched(directory: Directory, path: str, *operations: dict[str, Any]) -> dict[str, Any]:
    answer = directory.patch(path, *operations)
    assert answer.status_code == 200, answer.content
    found: dict[str, Any] = answer.json()
    assert directory.get(path).json() == found
    return found


class OktaTests:
    def test_looks_for_a_person_before_it_makes_one(self, directory: Directory) -> None:
        found = directory.get(
            "/Users", filter=f'userName eq "{EMAIL}"', startIndex="1", count="100"
        ).json()
        assert found["totalResults"] == 0
        body = {
            "schemas": [USER],
            "userName": EMAIL,
            "name": {"givenName": "Dana", "familyName": "Scully"},
            "emails": [{"primary": True, "value": EMAIL, "type": "work"}],
            "displayName": "Dana Scully",
            "locale": "en-US",
            "externalId": "00ujl29u0le5T6Aj10h7",
            "groups": [],
            "password": "1mz050nq",
            "active": True,
        }
        made = directory.send("POST", "/Users", body)
        assert made.status_code == 201
        assert made["Location"].endswith(f"/Users/{made.json()['id']}")
        again = directory.get("/Users", filter=f'userName eq "{EMAIL.upper()}"').json()
        assert again["Resources"][0]["id"] == made.json()["id"]

    def test_deactivates_without_a_path(self, directory: Directory, dana: str) -> None:
        found = patched(directory, f"/Users/{dana}", {"op": "replace", "value": {"active": False}})
        assert found["active"] is False

    def test_pushes_profiles_by_put_with_what_it_read(
        self, directory: Directory, dana: str
    ) -> None:
        body = directory.get(f"/Users/{dana}").json()
        body["displayName"] = "Dana Katherine Scully"
        answer = directory.send("PUT", f"/Users/{dana}", body)
        assert answer.status_code == 200
        assert answer.json()["displayName"] == "Dana Katherine Scully"

    def test_renames_a_group_with_its_id_in_the_value(self, directory: Directory) -> None:
        made = directory.create_group()
        found = patched(
            directory,
            f"/Groups/{made['id']}",
            {"op": "replace", "value": {"id": made["id"], "displayName": "Agents"}},
        )
        assert found["displayName"] == "Agents"

    def test_pushes_a_groups_members_whole(self, directory: Directory, dana: str, fox: str) -> None:
        made = directory.create_group(members=(dana,))
        found = patched(
            directory,
            f"/Groups/{made['id']}",
            {
                "op": "replace",
                "path": "members",
                "value": [{"value": fox, "display": f"fox@{DOMAIN}"}],
            },
        )
        assert [each["value"] for each in found["members"]] == [fox]

    def test_removes_one_member_and_adds_others(
        self, directory: Directory, dana: str, fox: str
    ) -> None:
        made = directory.create_group(members=(dana,))
        found = patched(
            directory,
            f"/Groups/{made['id']}",
            {"op": "remove", "path": f'members[value eq "{dana}"]'},
            {"op": "add", "path": "members", "value": [{"value": fox, "display": "Fox Mulder"}]},
        )
        assert [each["value"] for each in found["members"]] == [fox]

    def test_takes_a_member_out_who_is_not_in(self, directory: Directory, dana: str) -> None:
        made = directory.create_group()
        patched(
            directory,
            f"/Groups/{made['id']}",
            {"op": "remove", "path": f'members[value eq "{dana}"]'},
        )

    def test_reads_plain_json_too(self, directory: Directory) -> None:
        answer = directory.client.post(
            f"{directory.path}/Users",
            {"schemas": [USER], "userName": EMAIL},
            content_type="application/json",
            headers={"authorization": f"Bearer {directory.token}"},
        )
        assert answer.status_code == 201


class EntraTests:
    def test_looks_by_external_id_and_by_work_address(self, directory: Directory) -> None:
        made = directory.create_user(
            externalId="58342554-38d6-4ec8-948c-50044d0a33fd",
            emails=[{"value": EMAIL, "type": "work", "primary": True}],
        )
        for text in (
            'externalId eq "58342554-38d6-4ec8-948c-50044d0a33fd"',
            f'emails[type eq "work"].value eq "{EMAIL}"',
        ):
            found = directory.get("/Users", filter=text).json()
            assert [each["id"] for each in found["Resources"]] == [made["id"]]

    def test_deactivates_by_text(self, directory: Directory, dana: str) -> None:
        operation = {"op": "Replace", "path": "active", "value": "False"}
        assert patched(directory, f"/Users/{dana}", operation)["active"] is False
        found = directory.get("/Users", filter=f'userName eq "{EMAIL}"').json()
        assert found["Resources"][0]["active"] is False

    @pytest.mark.parametrize("op", ["Add", "Replace"])
    def test_writes_a_work_address_that_is_not_there_yet(
        self, directory: Directory, dana: str, op: str
    ) -> None:
        operation = {"op": op, "path": 'emails[type eq "work"].value', "value": EMAIL}
        found = patched(directory, f"/Users/{dana}", operation)
        assert found["emails"] == [{"type": "work", "value": EMAIL}]

    def test_replaces_a_work_address(self, directory: Directory) -> None:
        made = directory.create_user(emails=[{"value": "old@home.example", "type": "work"}])
        operation = {"op": "Replace", "path": 'emails[type eq "work"].value', "value": EMAIL}
        found = patched(directory, f"/Users/{made['id']}", operation)
        assert found["emails"] == [{"type": "work", "value": EMAIL}]

    @pytest.mark.parametrize("text", ["True", "true"])
    def test_writes_its_one_role_as_primary_by_text(
        self, directory: Directory, dana: str, text: str
    ) -> None:
        operation = {
            "op": "Add",
            "path": f'roles[primary eq "{text}"].value',
            "value": "pinecone:OrgManager",
        }
        for _ in range(2):
            found = patched(directory, f"/Users/{dana}", operation)
            assert found["roles"] == [{"primary": True, "value": "pinecone:OrgManager"}]

    @pytest.mark.parametrize("value", ["7", {"value": "7"}], ids=["text", "object"])
    def test_writes_a_manager(self, directory: Directory, dana: str, value: object) -> None:
        operation = {"op": "Add", "path": f"{ENTERPRISE}:manager", "value": value}
        found = patched(directory, f"/Users/{dana}", operation)
        assert found[ENTERPRISE]["manager"] == {"value": "7"}

    def test_writes_a_manager_in_the_whole_resource(self, directory: Directory) -> None:
        fields: dict[str, Any] = {ENTERPRISE: {"manager": "7", "department": "X"}}
        made = directory.create_user(**fields)
        assert made[ENTERPRISE] == {"manager": {"value": "7"}, "department": "X"}

    def test_writes_many_attributes_under_dotted_names(
        self, directory: Directory, dana: str
    ) -> None:
        found = patched(
            directory,
            f"/Users/{dana}",
            {
                "op": "Add",
                "value": {
                    "name.givenName": "Dana",
                    "name.familyName": "Scully",
                    f"{ENTERPRISE}:department": "X-Files",
                    f"{ENTERPRISE}:manager": "7",
                    "displayName": "Dana Scully",
                },
            },
        )
        assert found["name"] == {"givenName": "Dana", "familyName": "Scully"}
        assert found[ENTERPRISE]["department"] == "X-Files"

    def test_sends_attributes_that_nobody_declared(self, directory: Directory) -> None:
        made = directory.create_user(favouriteColour="red")
        assert "favouriteColour" not in made
        patched(
            directory,
            f"/Users/{made['id']}",
            {"op": "Add", "path": "favouriteColour", "value": "red"},
            {"op": "Replace", "path": "title", "value": "Agent"},
        )
        assert ScimUser.objects.get().attributes["title"] == "Agent"

    def test_adds_and_removes_members_by_value(
        self, directory: Directory, dana: str, fox: str
    ) -> None:
        made = directory.create_group()
        path = f"/Groups/{made['id']}"
        found = patched(
            directory,
            path,
            {"op": "Add", "path": "members", "value": [{"value": dana}, {"value": fox}]},
        )
        assert len(found["members"]) == 2
        found = patched(
            directory,
            path,
            {"op": "Remove", "path": "members", "value": [{"value": dana}]},
        )
        assert [each["value"] for each in found["members"]] == [fox]

    def test_adds_one_member_without_a_list(self, directory: Directory, dana: str) -> None:
        made = directory.create_group()
        found = patched(
            directory,
            f"/Groups/{made['id']}",
            {"op": "Add", "path": "members", "value": {"value": dana}},
        )
        assert [each["value"] for each in found["members"]] == [dana]

    def test_makes_groups_with_a_schema_of_its_own(self, directory: Directory) -> None:
        answer = directory.send(
            "POST",
            "/Groups",
            {
                "schemas": [
                    GROUP,
                    "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group",
                ],
                "externalId": "8aa1a0c0-c4c3-4bc0-b4a5-2ef676900159",
                "displayName": "Engineers",
                "meta": {"resourceType": "Group"},
            },
        )
        assert answer.status_code == 201, answer.content
        assert ScimGroup.objects.get().external_id == "8aa1a0c0-c4c3-4bc0-b4a5-2ef676900159"

    def test_reads_groups_without_members(self, directory: Directory, dana: str) -> None:
        made = directory.create_group(members=(dana,))
        found = directory.get(
            "/Groups", excludedAttributes="members", filter='displayName eq "Engineers"'
        ).json()
        assert [each["id"] for each in found["Resources"]] == [made["id"]]
        one = directory.get(f"/Groups/{made['id']}", excludedAttributes="members").json()
        assert "members" not in one

    def test_tests_the_connection_by_looking_for_nobody(self, directory: Directory) -> None:
        found = directory.get("/Users", filter='userName eq "6b9ad0a9-a6b4-4a1a-8b1d-3c3a5e6ffd5e"')
        assert (found.status_code, found.json()["totalResults"]) == (200, 0)


class BothTests:
    def test_patch_answers_with_the_resource(self, directory: Directory, dana: str) -> None:
        answer = directory.patch(
            f"/Users/{dana}", {"op": "add", "path": "nickName", "value": "Starbuck"}
        )
        assert (answer.status_code, answer.json()["nickName"]) == (200, "Starbuck")
        assert answer["Content-Type"].startswith("application/scim+json")

    def test_roles_are_replaced_whole(self, directory: Directory, dana: str) -> None:
        value = [{"value": "pinecone:OrgManager"}, {"value": "pinecone:OrgMember"}]
        found = patched(
            directory, f"/Users/{dana}", {"op": "replace", "path": "roles", "value": value}
        )
        assert found["roles"] == value

    def test_operations_that_make_no_sense_change_nothing(
        self, directory: Directory, dana: str
    ) -> None:
        before = directory.get(f"/Users/{dana}").json()
        for operations in (
            [{"op": "explode", "path": "title"}],
            [{"op": "remove"}],
            [{"op": "replace", "path": "userName"}],
            [{"op": "remove", "path": "userName"}],
            [{"op": "replace", "path": "id", "value": "7"}],
            [
                {"op": "add", "path": "title", "value": "A"},
                {"op": "add", "path": "emails[", "value": 1},
            ],
            [{"op": "replace", "path": "active", "value": "maybe"}],
            [],
        ):
            answer = directory.send(
                "PATCH", f"/Users/{dana}", {"schemas": [PATCH], "Operations": operations}
            )
            assert answer.status_code == 400, operations
        assert directory.get(f"/Users/{dana}").json() == before
