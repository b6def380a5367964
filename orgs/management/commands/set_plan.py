"""`manage.py set_plan ORGANIZATION`: the operator's word on what an organization may use."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from orgs.actors import system
from orgs.entitlements import entitlements
from orgs.errors import InvalidArgument, Refused
from orgs.models import Organization
from orgs.plans import LIMITS, Entitlement, Plan, Value
from orgs.services.organizations import set_plan

SWITCH = {"on": True, "off": False}
UNLIMITED = "unlimited"


class Command(BaseCommand):
    """Changes plan and exceptions, and shows what holds then."""

    help = (
        "Changes an organization's plan, its payment status, or single entitlements apart from the"
        " plan. Without options it shows what holds."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        names = ", ".join(each.value for each in Entitlement)
        parser.add_argument("organization", type=UUID, help="the organization's id")
        parser.add_argument("--plan", choices=[plan.value for plan in Plan])
        parser.add_argument(
            "--payment-status", choices=[each.value for each in Organization.PaymentStatus]
        )
        parser.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help=f"on, off, a number or {UNLIMITED}, whatever the plan says; names: {names}",
        )
        parser.add_argument(
            "--reset", action="append", default=[], metavar="NAME", help="as the plan says again"
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Change and show it.

        Raises:
            CommandError: there is no such organization or entitlement, or a value can't be used.
        """
        plan, paid = options["plan"], options["payment_status"]
        try:
            pairs = [_pair(text) for text in options["set"]]
            if len(dict(pairs)) < len(pairs):
                raise InvalidArgument("An entitlement is set twice. Choose one value.")
            organization = set_plan(
                actor=system("operator"),
                organization_id=options["organization"],
                plan=Plan(plan) if plan else None,
                payment_status=Organization.PaymentStatus(paid) if paid else None,
                overrides=dict(pairs),
                reset=[_name(text) for text in options["reset"]],
            )
        except Refused as error:
            raise CommandError(error.message) from error
        self.stdout.write(
            f"{organization.name}: {organization.plan}, {organization.payment_status}"
        )
        for name, found in entitlements(organization).items():
            self.stdout.write(f"{name.value:24} {_word(found.value):10} by the {found.source}")


def _name(text: str) -> Entitlement:
    try:
        return Entitlement(text)
    except ValueError:
        names = ", ".join(each.value for each in Entitlement)
        raise InvalidArgument(f"There is no entitlement {text!r}. There are: {names}.") from None


def _pair(text: str) -> tuple[Entitlement, Value]:
    """The entitlement and the value in `name=value`.

    Raises:
        InvalidArgument: no such entitlement, or no value of its kind.
    """
    left, equals, right = text.partition("=")
    name = _name(left)
    if name not in LIMITS and right in SWITCH:
        return name, SWITCH[right]
    if name in LIMITS and right == UNLIMITED:
        return name, None
    if name in LIMITS and right.isascii() and right.isdecimal():
        return name, int(right[:20])
    rule = f"a number or {UNLIMITED}" if name in LIMITS else "on or off"
    shown = f"not {right!r}" if equals else f"as {name}=VALUE"
    raise InvalidArgument(f"{name} takes {rule}, {shown}.")


def _word(value: Value) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return UNLIMITED if value is None else str(value)
