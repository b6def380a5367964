"""What an organization's plan and the operator of the installation let it do, and why.

The one place where rooms ask. A switch that is off is a 403 that names the plan; so is a full
limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from orgs.errors import PermissionDenied, QuotaExceeded
from orgs.models import Organization
from orgs.plans import LIMITS, PLANS, TITLES, Entitlement, Plan, Value


@dataclass(frozen=True, slots=True)
class Entitled:
    """One entitlement of one organization.

    Attributes:
        value: whether it is on, or the limit (None: unlimited).
        source: what decided it.
        reason: the same in words, with the way out where something is off.
    """

    value: Value
    source: Literal["plan", "operator"]
    reason: str


def entitlements(organization: Organization) -> dict[Entitlement, Entitled]:
    """Everything that can be on or off or limited. No query."""
    return {each: _entitled(organization, each) for each in Entitlement}


def has(organization: Organization, entitlement: Entitlement) -> bool:
    """Whether a switch is on."""
    return _entitled(organization, entitlement).value is True


def require(organization: Organization, entitlement: Entitlement) -> None:
    """Let pass where the switch is on.

    Raises:
        PermissionDenied: it is off; the message names the plan and what to do.
    """
    if not has(organization, entitlement):
        raise PermissionDenied(_entitled(organization, entitlement).reason)


def limit(organization: Organization, entitlement: Entitlement) -> int | None:
    """How many there may be; None: as many as wanted."""
    value = _entitled(organization, entitlement).value
    return None if value is None else int(value)


def check_room(
    organization: Organization, entitlement: Entitlement, *, used: int, more: int = 1
) -> None:
    """Let pass where `more` fit beside the `used` ones.

    The caller holds a lock on the organization's row, or two at once both fit.

    Raises:
        QuotaExceeded: they don't; the message names limit, use and plan.
    """
    allowed = limit(organization, entitlement)
    if allowed is None or used + more <= allowed:
        return
    raise QuotaExceeded(
        f"{_entitled(organization, entitlement).reason} In use: {used}. Remove some, or ask the"
        " operator of this installation for more."
    )


def _entitled(organization: Organization, entitlement: Entitlement) -> Entitled:
    if entitlement in organization.overrides:
        value: Value = organization.overrides[entitlement]
        return Entitled(value, "operator", _by_operator(entitlement, value))
    plan = Plan(organization.plan)
    return Entitled(PLANS[plan][entitlement], "plan", _by_plan(entitlement, plan))


def _by_operator(entitlement: Entitlement, value: Value) -> str:
    title = TITLES[entitlement]
    if entitlement in LIMITS:
        return f"The operator of this installation allows {_how_many(title, value)}."
    verb = "allows" if value is True else "does not allow"
    return f"The operator of this installation {verb} {title} in this organization."


def _how_many(title: str, value: Value) -> str:
    return f"any number of {title}" if value is None else f"at most {value} {title}"


def _by_plan(entitlement: Entitlement, plan: Plan) -> str:
    title, value = TITLES[entitlement], PLANS[plan][entitlement]
    if entitlement in LIMITS:
        return f"The {plan} plan allows {_how_many(title, value)}."
    if value is True:
        return f"The {plan} plan includes {title}."
    # Plans are in rising order: the first that has it is the least.
    least = next((each for each in Plan if PLANS[each][entitlement] is True), None)
    if least is None:
        return f"No plan includes {title}; the operator of this installation can allow it."
    return (
        f"{title[0].upper()}{title[1:]}: part of the {least} plan; this organization has {plan}."
        " Ask the operator of this installation to change the plan, or to allow it."
    )
