"""`manage.py demo_idp`: a local identity provider beside the demonstration that serves."""

from __future__ import annotations

import logging
import secrets
import signal
import ssl
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from controlplane import supervision
from controlplane.demo.idp import IdpFailed, LocalIdp, Person, serving
from controlplane.demo.idp_connection import (
    DOMAIN,
    ENTITY_ID,
    MANAGERS,
    prepared_connection,
    switch_on,
    write_certificates,
)
from controlplane.demo.steps import NOBODY, read_demo_file
from indexes.certificates import authority
from kms.certificates import write_pair
from orgs.errors import Refused
from orgs.models import Organization

PORT = 8600


class Command(BaseCommand):
    """Connects it to the demonstration's organization by SAML and serves until Ctrl-C."""

    help = "Starts a local identity provider and connects it to the demonstration."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=PORT, help=f"on loopback; {PORT} if unset")

    def handle(self, *_: Any, **options: Any) -> None:
        """Serve until Ctrl-C or SIGTERM.

        Raises:
            CommandError: the demonstration does not serve, or the identity provider can't.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        logging.getLogger("httpx").setLevel(logging.WARNING)
        demo, organization = _served()
        folder = Path(settings.TAMARACK_HOME) / "demo-idp"
        try:
            connection = prepared_connection(organization)
            certificate, key = _pair(folder)
            idp = LocalIdp(
                folder=folder,
                port=options["port"],
                people=_people(),
                sp_certificates=write_certificates(connection, folder),
                entity_id=ENTITY_ID,
            )
            with serving(idp, certificate=certificate, key=key) as process:
                context = ssl.create_default_context(cafile=demo["ca_file"])
                answer = httpx.get(idp.metadata_url, verify=context)
                connection = switch_on(connection, answer.raise_for_status().content)
                self._tell(idp, demo["gateway"], organization)
                process.wait()
        except KeyboardInterrupt:
            self.stdout.write("\nStopped. Sign-ins through it fail until it is started again.")
            return
        except (IdpFailed, httpx.HTTPError) as error:
            raise CommandError(str(error)) from error
        except Refused as error:
            raise CommandError(error.message) from error
        raise CommandError(f"The identity provider ended; its log is {folder / 'idp.log'}.")

    def _tell(self, idp: LocalIdp, gateway: str, organization: Organization) -> None:
        console = f"{gateway}/organizations/{organization.pk}/sso/"
        people = "\n".join(
            f"              {name:<6} {person.password}   {person.email}, "
            + ("a manager, by the group there" if person.groups else "a member, by default")
            for name, person in idp.people.items()
        )
        self.stdout.write(
            f"\nIdentity provider at {idp.url}, connected to {organization.name}.\n\n"
            f"1. Open       {gateway}/accounts/login/\n"
            f"   and type   {next(iter(idp.people.values())).email}: single sign-on is offered.\n"
            f"2. There, sign in as\n{people}\n"
            "   You come back as a member of the organization, in an account made just then.\n"
            f"3. As its owner (make demo said how), see the connection, its sign-in log, and how\n"
            f"   to require it of everybody at {console}\n\n"
            "Both addresses show a certificate of the installation's own authority.\n"
            "Serving until Ctrl-C."
        )
        self.stdout.flush()


def _served() -> tuple[dict[str, str], Organization]:
    """What the demonstration wrote down, and its organization.

    Raises:
        CommandError: it does not serve.
    """
    demo = read_demo_file()
    if not demo or supervision.running_supervisor() is None:
        raise CommandError(
            "The demonstration does not serve. Run make demo in another terminal, wait until it"
            " says so, and start this again."
        )
    organization = Organization.objects.filter(pk=demo.get("organization_id", NOBODY)).first()
    if organization is None:
        raise CommandError("The demonstration's organization is gone. Run make demo again.")
    return demo, organization


def _pair(folder: Path) -> tuple[Path, Path]:
    """Certificate and key for loopback, of the authority that the dashboard's is of."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    certificate, key = folder / "tls.crt", folder / "tls.key"
    names = [x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("localhost")]
    write_pair(authority().issue_edge(names, "ecdsa"), certificate, key)
    return certificate, key


def _people() -> dict[str, Person]:
    """Who can sign in there, with new passwords at every start."""
    return {
        name: Person(secrets.token_urlsafe(9), f"{name}@{DOMAIN}", groups)
        for name, groups in (("dana", [MANAGERS]), ("sam", []))
    }
