"""Every response of the table is accepted or refused as the table says."""

from __future__ import annotations

from typing import Any

import pytest

from orgs.models import Organization
from sso.errors import SignInRefused
from sso.saml.verify import in_response_to, verify
from tests import factories
from tests.sso import idp
from tests.sso.saml.attacks import CASES, ISSUER, Case, Scene
from tests.sso.support import make_connection

REQUEST = "_0123456789abcdef"


@pytest.fixture
def organization(db: None) -> Organization:
    return factories.make_organization(factories.make_user("owner@x.example"), "X")


def make_scene(organization: Organization, **fields: Any) -> Scene:
    connection = make_connection(organization, idp_entity_id=ISSUER, **fields)
    idp.install(connection, idp.pair("idp-next"), idp.pair(), idp.pair("idp-ec", kind="ec"))
    return Scene(connection, REQUEST)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_response_is_accepted_or_refused_as_the_table_says(
    case: Case, organization: Organization
) -> None:
    scene = make_scene(organization, **case.fields)
    field = case.field_for(scene)
    if case.code is None:
        assert in_response_to(field) == REQUEST
        assert verify(field, scene.connection, REQUEST).email == case.email
        return
    with pytest.raises(SignInRefused) as refused:
        verify(field, scene.connection, REQUEST)
    assert (refused.value.code, case.check or refused.value.check) == (
        case.code,
        refused.value.check,
    ), refused.value.reason
    assert len(refused.value.reason) <= 1000
    assert refused.value.reason.isprintable()
    # Nobody was asked for it: nothing that needs a request is accepted without one either.
    with pytest.raises(SignInRefused):
        verify(field, scene.connection, None)


def test_names_of_cases_are_unique() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
