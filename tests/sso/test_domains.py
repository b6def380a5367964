"""Domains: which can be claimed, how they are proven, and when the proof ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from io import StringIO
from typing import Any
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from audit.models import AuditEvent
from orgs.actors import Actor, system
from orgs.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    QuotaExceeded,
    ReauthenticationRequired,
)
from orgs.models import OutgoingMail
from orgs.selectors.bindings import actor_for
from sso import domain_checks, tasks
from sso.dns import lookup_txt
from sso.domain_names import ascii_domain, claimable_domain, is_public_mail
from sso.identity_providers import domain_of
from sso.models import Connection, Domain
from sso.selectors.domains import domains_of, get_domain
from sso.services import domains as service
from sso.services.domains import (
    add_domain,
    assign_domain,
    remove_domain,
    verify_domain,
)
from tests.cast import Cast
from tests.orgs.racing import at_once
from tests.sso.dns_server import NameServer, name_server
from tests.sso.support import make_connection, make_domain

State = Connection.State


@pytest.fixture
def dns(settings: Any) -> Iterator[NameServer]:
    """A name server that Tamarack asks, and no other."""
    with name_server() as server:
        settings.TAMARACK_DNS_SERVERS = [server.address]
        yield server


@pytest.fixture
def owner(cast: Cast) -> Actor:
    return cast.actor(cast.alice)


@pytest.fixture
def domain(cast: Cast, owner: Actor) -> Domain:
    return add_domain(actor=owner, organization_id=cast.organization.pk, name="acme.example")


def prove(dns: NameServer, domain: Domain) -> None:
    dns.says(domain.record_name, "v=spf1 -all", domain.record_value)


def events(organization_id: UUID) -> list[str]:
    rows = AuditEvent.objects.filter(organization_id=organization_id, type__startswith="domain.")
    return list(rows.order_by("time").values_list("type", flat=True))


def mails() -> list[str]:
    return list(OutgoingMail.objects.order_by("created_at").values_list("subject", flat=True))


class TestWhatCanBeClaimed:
    @pytest.mark.parametrize(
        ("typed", "kept"),
        [
            ("acme.example", "acme.example"),
            ("  ACME.Example.\n", "acme.example"),
            ("mail.acme.example", "mail.acme.example"),
            ("straße.example", "xn--strae-oqa.example"),
            ("MÜNCHEN.example", "xn--mnchen-3ya.example"),
            ("acme。example", "acme.example"),
            ("acme.co.uk", "acme.co.uk"),
        ],
    )
    def test_names_have_one_spelling(self, typed: str, kept: str) -> None:
        assert claimable_domain(typed) == kept

    @pytest.mark.parametrize(
        "typed",
        [
            "",
            "localhost",
            "192.0.2.7",
            "2001:db8::1",
            "[192.0.2.7]",
            "https://acme.example",
            "acme.example/path",
            "ada@acme.example",
            "*.acme.example",
            "a_b.example",
            "-acme.example",
            "acme..example",
            ".acme.example",
            "acme.example..",
            "acme example.com",
            "xn--a.example",
            "co.uk",
            "com.au",
            "example.123",
            "a" * 64 + ".example",
            ".".join(["a" * 60] * 4),
            "ä" * 100_000,
        ],
        ids=lambda typed: typed[:20].strip() or "empty",
    )
    def test_what_is_no_domain_of_one_organization_is_refused(self, typed: str) -> None:
        with pytest.raises(InvalidArgument):
            claimable_domain(typed)

    @pytest.mark.parametrize(
        "name", ["gmail.com", "GMail.com", "outlook.com", "qq.com", "mail.ru", "yahoo.co.uk"]
    )
    def test_providers_of_mail_for_everybody_are_refused(self, name: str) -> None:
        with pytest.raises(InvalidArgument, match="mail addresses to everybody"):
            claimable_domain(name)

    def test_names_below_a_provider_are_the_providers(self) -> None:
        assert is_public_mail("team.gmail.com")
        assert not is_public_mail("notgmail.com")

    @pytest.mark.parametrize(
        ("email", "found"),
        [
            ("ada@ACME.example", "acme.example"),
            ("ada@straße.example", "xn--strae-oqa.example"),
            ("ada@acme.example.", "acme.example"),
            ("@acme.example", ""),
            ("ada", ""),
            ("ada@", ""),
            ("ada@acme..example", ""),
        ],
    )
    def test_addresses_have_the_domain_that_is_kept(self, email: str, found: str) -> None:
        assert domain_of(email) == found

    def test_a_name_that_is_none_is_empty(self) -> None:
        assert ascii_domain("a b") == ""


class TestAdding:
    def test_a_claim_proves_nothing(self, domain: Domain, cast: Cast) -> None:
        assert domain.verified_at is None
        assert len(domain.token) >= 43
        assert domain.record_name == "_tamarack-challenge.acme.example"
        assert domain.record_value == f"tamarack-domain-verification={domain.token}"
        assert events(cast.organization.pk) == ["domain.added"]

    def test_an_organization_has_a_domain_once(
        self, domain: Domain, owner: Actor, cast: Cast
    ) -> None:
        with pytest.raises(AlreadyExists):
            add_domain(actor=owner, organization_id=cast.organization.pk, name="ACME.example")

    def test_two_organizations_may_claim_the_same(self, domain: Domain, cast: Cast) -> None:
        other = cast.actor(cast.charlie)
        made = add_domain(
            actor=other, organization_id=cast.other_organization.pk, name="acme.example"
        )
        assert made.token != domain.token

    def test_there_are_so_many_at_most(
        self, domain: Domain, owner: Actor, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(service, "MAX_DOMAINS", 1)
        with pytest.raises(QuotaExceeded):
            add_domain(actor=owner, organization_id=cast.organization.pk, name="two.example")

    def test_it_needs_the_plan(self, owner: Actor, cast: Cast) -> None:
        cast.organization.overrides = {"sso": False}
        cast.organization.save()
        with pytest.raises(PermissionDenied, match="single sign-on"):
            add_domain(actor=owner, organization_id=cast.organization.pk, name="acme.example")

    def test_a_connection_of_another_organization_is_none(self, owner: Actor, cast: Cast) -> None:
        foreign = make_connection(cast.other_organization)
        with pytest.raises(NotFound):
            add_domain(
                actor=owner,
                organization_id=cast.organization.pk,
                name="acme.example",
                connection_id=foreign.pk,
            )
        assert not Domain.objects.exists()


class TestWhoMay:
    def test_members_may_not_and_strangers_see_nothing(self, domain: Domain, cast: Cast) -> None:
        for who, error in ((cast.bob, PermissionDenied), (cast.charlie, NotFound)):
            actor = cast.actor(who)
            with pytest.raises(error):
                add_domain(actor=actor, organization_id=cast.organization.pk, name="x.example")
            with pytest.raises(error):
                verify_domain(actor=actor, domain_id=domain.pk)
            with pytest.raises(error):
                assign_domain(actor=actor, domain_id=domain.pk, connection_id=None)
            with pytest.raises(error):
                remove_domain(actor=actor, domain_id=domain.pk)
            with pytest.raises(error):
                get_domain(actor, domain.pk)
            with pytest.raises(error):
                domains_of(actor, cast.organization.pk)

    def test_changing_takes_a_fresh_proof_and_looking_does_not(
        self, domain: Domain, cast: Cast
    ) -> None:
        stale = actor_for(cast.alice, authenticated_at=timezone.now() - timedelta(hours=2))
        assert list(domains_of(stale, cast.organization.pk)) == [domain]
        assert get_domain(stale, domain.pk) == domain
        with pytest.raises(ReauthenticationRequired):
            remove_domain(actor=stale, domain_id=domain.pk)


class TestProving:
    def test_the_record_proves_it(
        self, domain: Domain, owner: Actor, dns: NameServer, cast: Cast
    ) -> None:
        prove(dns, domain)
        verify_domain(actor=owner, domain_id=domain.pk)
        domain.refresh_from_db()
        assert domain.verified_at is not None
        assert domain.last_error == ""
        assert events(cast.organization.pk) == ["domain.added", "domain.verified"]

    def test_pieces_of_a_record_are_joined(
        self, domain: Domain, owner: Actor, dns: NameServer
    ) -> None:
        value = domain.record_value
        dns.texts[domain.record_name] = [(value[:20], value[20:])]
        assert verify_domain(actor=owner, domain_id=domain.pk).verified_at is not None

    def test_an_alias_is_followed(self, domain: Domain, owner: Actor, dns: NameServer) -> None:
        dns.aliases[domain.record_name] = "proof.elsewhere.example"
        dns.says("proof.elsewhere.example", domain.record_value)
        assert verify_domain(actor=owner, domain_id=domain.pk).verified_at is not None

    def test_an_answer_too_long_for_udp_comes_over_tcp(
        self, domain: Domain, owner: Actor, dns: NameServer
    ) -> None:
        noise = [f"noise {number} " + "x" * 100 for number in range(20)]
        dns.says(domain.record_name, *noise, domain.record_value)
        assert verify_domain(actor=owner, domain_id=domain.pk).verified_at is not None

    def test_the_record_of_another_organization_proves_nothing(
        self, domain: Domain, owner: Actor, dns: NameServer, cast: Cast
    ) -> None:
        other = add_domain(
            actor=cast.actor(cast.charlie),
            organization_id=cast.other_organization.pk,
            name=domain.name,
        )
        prove(dns, other)
        with pytest.raises(FailedPrecondition, match="says"):
            verify_domain(actor=owner, domain_id=domain.pk)

    def test_what_is_missing_is_told_apart(
        self, domain: Domain, owner: Actor, dns: NameServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sso.dns.LIFETIME", 0.3)
        with pytest.raises(FailedPrecondition, match="no name _tamarack-challenge") as found:
            verify_domain(actor=owner, domain_id=domain.pk)
        assert domain.record_value in found.value.message
        domain.refresh_from_db()
        assert domain.last_error.startswith("There is no name")
        assert domain.checked_at is not None
        dns.says(domain.record_name)
        with pytest.raises(FailedPrecondition, match="no TXT record"):
            verify_domain(actor=owner, domain_id=domain.pk)
        dns.says(domain.record_name, 'something "else"')
        with pytest.raises(FailedPrecondition, match="something"):
            verify_domain(actor=owner, domain_id=domain.pk)
        dns.broken.add(domain.record_name)
        with pytest.raises(FailedPrecondition, match="SERVFAIL"):
            verify_domain(actor=owner, domain_id=domain.pk)
        dns.broken.clear()
        dns.silent.add(domain.record_name)
        with pytest.raises(FailedPrecondition, match="No name server answered"):
            verify_domain(actor=owner, domain_id=domain.pk)
        domain.refresh_from_db()
        assert domain.verified_at is None

    def test_a_machine_without_name_servers_says_so(
        self, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.TAMARACK_DNS_SERVERS = [("127.0.0.1", 9)]
        monkeypatch.setattr("sso.dns.LIFETIME", 0.3)
        found = lookup_txt("_tamarack-challenge.acme.example")
        assert not found.is_certain
        assert found.problem

    def test_the_second_organization_is_refused_without_a_name(
        self, domain: Domain, owner: Actor, dns: NameServer, cast: Cast
    ) -> None:
        make_domain(cast.other_organization, domain.name)
        prove(dns, domain)
        with pytest.raises(AlreadyExists) as found:
            verify_domain(actor=owner, domain_id=domain.pk)
        assert cast.other_organization.name not in found.value.message
        assert str(cast.other_organization.pk) not in found.value.message
        domain.refresh_from_db()
        assert domain.verified_at is None

    def test_proving_twice_is_one_event(
        self, domain: Domain, owner: Actor, dns: NameServer, cast: Cast
    ) -> None:
        prove(dns, domain)
        first = verify_domain(actor=owner, domain_id=domain.pk).verified_at
        assert verify_domain(actor=owner, domain_id=domain.pk).verified_at == first
        assert events(cast.organization.pk).count("domain.verified") == 1


@pytest.mark.django_db(transaction=True)
def test_of_two_organizations_that_prove_at_once_one_gets_it(dns: NameServer, cast: Cast) -> None:
    pairs = []
    for user, organization in (
        (cast.alice, cast.organization),
        (cast.charlie, cast.other_organization),
    ):
        actor = cast.actor(user)
        row = add_domain(actor=actor, organization_id=organization.pk, name="acme.example")
        pairs.append((actor, row))
    dns.says(pairs[0][1].record_name, *(row.record_value for _, row in pairs))

    results = at_once(
        *(partial(verify_domain, actor=actor, domain_id=row.pk) for actor, row in pairs)
    )

    assert results == {"done": 1, "AlreadyExists": 1}
    assert Domain.objects.filter(verified_at__isnull=False).count() == 1


class TestAssigningAndRemoving:
    def test_a_domain_is_led_to_a_connection_and_away(
        self, domain: Domain, owner: Actor, cast: Cast
    ) -> None:
        connection = make_connection(cast.organization, state=State.DRAFT)
        assign_domain(actor=owner, domain_id=domain.pk, connection_id=connection.pk)
        domain.refresh_from_db()
        assert domain.connection == connection
        assign_domain(actor=owner, domain_id=domain.pk, connection_id=None)
        domain.refresh_from_db()
        assert domain.connection is None
        assert events(cast.organization.pk)[1:] == ["domain.updated", "domain.updated"]

    def test_a_connection_of_another_organization_is_none(
        self, domain: Domain, owner: Actor, cast: Cast
    ) -> None:
        foreign = make_connection(cast.other_organization)
        with pytest.raises(NotFound):
            assign_domain(actor=owner, domain_id=domain.pk, connection_id=foreign.pk)

    @pytest.mark.parametrize("state", [State.ACTIVE, State.ENFORCED])
    def test_the_last_domain_of_a_connection_in_use_stays(
        self, state: Connection.State, owner: Actor, cast: Cast
    ) -> None:
        connection = make_connection(cast.organization, state=state, domains=["acme.example"])
        row = connection.domains.get()
        with pytest.raises(FailedPrecondition):
            remove_domain(actor=owner, domain_id=row.pk)
        with pytest.raises(FailedPrecondition):
            assign_domain(actor=owner, domain_id=row.pk, connection_id=None)

    def test_one_of_several_may_go_unless_people_have_to_use_it(
        self, owner: Actor, cast: Cast
    ) -> None:
        names = ["acme.example", "acme.test"]
        connection = make_connection(cast.organization, state=State.ENFORCED, domains=names)
        row = connection.domains.get(name="acme.test")
        with pytest.raises(FailedPrecondition, match="have to sign in"):
            remove_domain(actor=owner, domain_id=row.pk)
        Connection.objects.update(state=State.ACTIVE)
        remove_domain(actor=owner, domain_id=row.pk)
        assert connection.domains.count() == 1
        assert events(cast.organization.pk) == ["domain.removed"]


class TestLookingAgain:
    @pytest.fixture
    def verified(self, domain: Domain, owner: Actor, dns: NameServer) -> Domain:
        prove(dns, domain)
        verify_domain(actor=owner, domain_id=domain.pk)
        dns.texts.clear()
        OutgoingMail.objects.all().delete()
        return self.days_pass(domain, 1)

    @staticmethod
    def days_pass(domain: Domain, days: int) -> Domain:
        """As if the last look, and what it found, were so many days ago."""
        domain.refresh_from_db()
        for name in ("checked_at", "failing_since"):
            value = getattr(domain, name)
            if value is not None:
                setattr(domain, name, value - timedelta(days=days, seconds=1))
        domain.save()
        return domain

    def test_a_record_that_is_gone_is_told_and_forgiven_for_a_week(
        self, verified: Domain, dns: NameServer, cast: Cast
    ) -> None:
        tasks.recheck_domain(str(verified.pk))
        verified.refresh_from_db()
        assert verified.failing_since is not None
        assert verified.verified_at is not None
        assert mails() == ["The proof for acme.example is gone"]
        self.days_pass(verified, 6)
        tasks.recheck_domain(str(verified.pk))
        verified.refresh_from_db()
        assert verified.verified_at is not None
        assert len(mails()) == 1
        self.days_pass(verified, 1)
        tasks.recheck_domain(str(verified.pk))
        verified.refresh_from_db()
        assert verified.verified_at is None
        assert mails()[1:] == ["acme.example is not verified any more"]
        assert events(cast.organization.pk)[-1] == "domain.lapsed"

    def test_a_record_that_is_back_is_as_if_never_gone(
        self, verified: Domain, dns: NameServer
    ) -> None:
        tasks.recheck_domain(str(verified.pk))
        prove(dns, verified)
        self.days_pass(verified, 30)
        tasks.recheck_domain(str(verified.pk))
        verified.refresh_from_db()
        assert verified.failing_since is None
        assert verified.verified_at is not None
        assert verified.last_error == ""

    def test_silence_never_counts_as_missing(
        self, verified: Domain, dns: NameServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sso.dns.LIFETIME", 0.2)
        dns.silent.add(verified.record_name)
        tasks.recheck_domain(str(verified.pk))
        verified.refresh_from_db()
        assert verified.failing_since is None
        assert verified.last_error.startswith("No name server")
        assert mails() == []
        # Nor does it end a grace period that began before.
        dns.silent.clear()
        self.days_pass(verified, 1)
        tasks.recheck_domain(str(verified.pk))
        self.days_pass(verified, 30)
        dns.broken.add(verified.record_name)
        tasks.recheck_domain(str(verified.pk))
        verified.refresh_from_db()
        assert verified.verified_at is not None

    def test_a_domain_is_looked_at_once_a_day(self, verified: Domain, dns: NameServer) -> None:
        assert domain_checks.due() == [verified.pk]
        dns.asked.clear()
        tasks.recheck_domain(str(verified.pk))
        tasks.recheck_domain(str(verified.pk))
        assert len(dns.asked) == 1
        assert domain_checks.due() == []

    def test_a_queue_that_does_not_answer_is_no_failure(
        self, verified: Domain, without_queue: Callable[[Any], None]
    ) -> None:
        without_queue(tasks.recheck_domain)
        tasks.recheck_domains()
        assert domain_checks.due() == [verified.pk]

    def test_claims_that_nobody_proved_are_not_looked_at(
        self, domain: Domain, dns: NameServer
    ) -> None:
        tasks.recheck_domain(str(domain.pk))
        assert domain_checks.due() == []
        assert dns.asked == []

    def test_a_domain_that_lapsed_is_free_for_another(
        self, verified: Domain, dns: NameServer, cast: Cast
    ) -> None:
        tasks.recheck_domain(str(verified.pk))
        self.days_pass(verified, 8)
        tasks.recheck_domain(str(verified.pk))
        actor = cast.actor(cast.charlie)
        row = add_domain(
            actor=actor, organization_id=cast.other_organization.pk, name=verified.name
        )
        prove(dns, row)
        assert verify_domain(actor=actor, domain_id=row.pk).verified_at is not None


class TestTheOperatorsWord:
    def test_it_counts_without_dns_and_lasts(
        self, domain: Domain, dns: NameServer, cast: Cast
    ) -> None:
        out = StringIO()
        call_command("verify_domain", str(cast.organization.pk), "ACME.example", stdout=out)
        assert "acme.example counts as verified" in out.getvalue()
        domain.refresh_from_db()
        assert domain.verified_at is not None
        assert dns.asked == []
        event = AuditEvent.objects.get(type="domain.verified")
        assert (event.actor_kind, event.actor_label) == ("system", "operator")
        Domain.objects.update(checked_at=timezone.now() - timedelta(days=30))
        assert domain_checks.due() == []
        tasks.recheck_domain(str(domain.pk))
        assert dns.asked == []

    def test_only_what_the_organization_claimed(self, domain: Domain, cast: Cast) -> None:
        with pytest.raises(CommandError, match="no domain"):
            call_command("verify_domain", str(cast.organization.pk), "other.example")
        with pytest.raises(CommandError, match="no domain"):
            call_command("verify_domain", str(cast.other_organization.pk), "acme.example")
        make_domain(cast.other_organization, "acme.example")
        with pytest.raises(CommandError, match="another organization"):
            call_command("verify_domain", str(cast.organization.pk), "acme.example")

    def test_nobody_else_has_it(self, domain: Domain, owner: Actor, cast: Cast) -> None:
        with pytest.raises(PermissionDenied):
            service.verify_domain_by_operator(
                actor=owner, organization_id=cast.organization.pk, name=domain.name
            )
        made = service.verify_domain_by_operator(
            actor=system("operator"), organization_id=cast.organization.pk, name=domain.name
        )
        assert made.is_vouched
