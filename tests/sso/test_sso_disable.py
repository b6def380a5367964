"""`manage.py sso_disable`."""

from __future__ import annotations

import io
import uuid

import pytest
from django.core.management import CommandError, call_command

from orgs.models import SecurityBaseline
from sso.models import Connection
from tests.cast import Cast
from tests.orgs.accounts import events, received
from tests.pages import Browser
from tests.sso.emergencies import make_required
from tests.sso.support import make_connection


def run(organization_id: object, *arguments: str) -> str:
    """What the command prints."""
    output = io.StringIO()
    call_command("sso_disable", str(organization_id), *arguments, stdout=output)
    return output.getvalue()


def test_lets_people_in_by_password_again(cast: Cast) -> None:
    first = make_required(cast.organization, cast.alice)
    second = make_connection(cast.organization, state=Connection.State.ENFORCED)
    output = run(cast.organization.pk, "--yes")
    assert first.name in output
    assert second.name in output
    assert set(Connection.objects.values_list("state", flat=True)) == {"active"}
    assert not SecurityBaseline.objects.get().sso_required
    assert Browser().sign_in("bob@example.com").status_code == 302


def test_the_operator_is_in_the_trail_and_owners_are_told(cast: Cast) -> None:
    make_required(cast.organization, cast.alice)
    run(cast.organization.pk, "--yes")
    (event,) = events("sso.relaxed")
    assert (event.actor_kind, event.actor_label) == ("system", "operator")
    assert "no longer requires" in received("alice@example.com")[-1].subject


def test_twice_is_once(cast: Cast) -> None:
    make_required(cast.organization, cast.alice)
    run(cast.organization.pk, "--yes")
    assert "nothing was changed" in run(cast.organization.pk, "--yes")
    assert len(events("sso.relaxed")) == 1


@pytest.mark.parametrize(("said", "state"), [("no", "enforced"), ("yes", "active")])
def test_it_asks_first(cast: Cast, monkeypatch: pytest.MonkeyPatch, said: str, state: str) -> None:
    connection = make_required(cast.organization, cast.alice)
    monkeypatch.setattr("builtins.input", lambda _: said)
    if said == "no":
        with pytest.raises(CommandError, match="Nothing was changed"):
            run(cast.organization.pk)
    else:
        run(cast.organization.pk)
    connection.refresh_from_db()
    assert connection.state == state


def test_others_are_left_alone(cast: Cast) -> None:
    make_required(cast.organization, cast.alice)
    other = make_connection(cast.other_organization, state=Connection.State.ENFORCED)
    run(cast.organization.pk, "--yes")
    other.refresh_from_db()
    assert other.state == Connection.State.ENFORCED


def test_an_unknown_organization_is_told(db: None) -> None:
    with pytest.raises(CommandError, match="There is no organization"):
        run(uuid.UUID(int=1), "--yes")
    with pytest.raises(CommandError, match="invalid UUID"):
        run("acme", "--yes")
