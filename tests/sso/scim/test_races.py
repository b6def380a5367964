"""Two requests of a directory at once."""

from __future__ import annotations

from functools import partial

import pytest
from django.test import Client

from orgs.models import Membership, User
from sso.models import ScimGroup, ScimUser
from tests.cast import Cast
from tests.orgs.racing import at_once
from tests.sso.scim.support import DOMAIN, GROUP, PATCH, USER, Directory, make_directory

pytestmark = pytest.mark.django_db(transaction=True)
EMAIL = f"dana@{DOMAIN}"


class Answers:
    """The statuses of requests that were sent from threads."""

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self.statuses: list[int] = []

    def send(self, method: str, path: str, body: object = None) -> None:
        found = Directory(self.directory.connection, self.directory.token, Client())
        self.statuses.append(found.send(method, path, body).status_code)


@pytest.fixture
def answers(cast: Cast) -> Answers:
    return Answers(make_directory(cast.organization))


def test_the_same_person_twice_at_once_is_made_once(answers: Answers) -> None:
    body = {"schemas": [USER], "userName": EMAIL}
    at_once(*[lambda: answers.send("POST", "/Users", body)] * 4)
    assert sorted(answers.statuses) == [201, 409, 409, 409]
    assert User.objects.filter(email=EMAIL).count() == ScimUser.objects.count() == 1


def test_the_same_group_twice_at_once_is_made_once(answers: Answers) -> None:
    body = {"schemas": [GROUP], "displayName": "Engineers"}
    at_once(*[lambda: answers.send("POST", "/Groups", body)] * 4)
    assert sorted(answers.statuses) == [201, 409, 409, 409]
    assert ScimGroup.objects.count() == 1


def test_a_change_and_a_deletion_follow_each_other(answers: Answers) -> None:
    operation = {"op": "replace", "path": "active", "value": False}
    body = {"schemas": [PATCH], "Operations": [operation]}
    for _ in range(3):
        answers.statuses.clear()
        path = f"/Users/{answers.directory.create_user()['id']}"
        at_once(partial(answers.send, "PATCH", path, body), partial(answers.send, "DELETE", path))
        assert sorted(answers.statuses) in ([200, 204], [204, 404])
        assert not ScimUser.objects.exists()
        assert not Membership.objects.filter(user__email=EMAIL).exists()


def test_members_who_come_in_at_once_are_all_in(answers: Answers) -> None:
    directory = answers.directory
    ids = [directory.create_user(f"p{number}@{DOMAIN}")["id"] for number in range(4)]
    path = f"/Groups/{directory.create_group()['id']}"

    def add(pk: str) -> None:
        operation = {"op": "add", "path": "members", "value": [{"value": pk}]}
        answers.send("PATCH", path, {"schemas": [PATCH], "Operations": [operation]})

    at_once(*[partial(add, pk) for pk in ids])
    assert answers.statuses == [200] * 4
    assert {each["value"] for each in directory.get(path).json()["members"]} == set(ids)
