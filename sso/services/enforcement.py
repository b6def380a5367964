"""Requiring an organization's single sign-on of everybody, and taking that back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from allauth.account.internal.flows.login import AUTHENTICATION_METHODS_SESSION_KEY
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from audit.events import EventType
from orgs.actors import Actor, system
from orgs.authentication import GRANTING
from orgs.baseline import LockedOut
from orgs.entitlements import has
from orgs.errors import FailedPrecondition, InvalidArgument
from orgs.models import Membership, Organization, User
from orgs.plans import Entitlement
from orgs.selectors.baseline import baseline_of
from orgs.services.accounts import end_sessions_from_outside
from orgs.services.checks import VersionCheck, any_version
from orgs.services.owners import keeping_an_owner
from sso.models import Connection, Domain, Identity
from sso.notices import mail_owners
from sso.selectors.break_glass import EXERCISE_HOLDS, is_exercised, named
from sso.selectors.connections import get_connection, missing_for_sign_in
from sso.services.changing import connection_to_change
from sso.services.sessions import end_sessions_of
from sso.trail import record_change, save_change

State = Connection.State
RELAXED_STATES = frozenset({State.ACTIVE, State.DISABLED})


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that has to hold before single sign-on is required.

    Attributes:
        name: for programs.
        title: what has to hold.
        why: what was found.
        way_out: what to do where it does not hold; empty where it does.
    """

    name: str
    title: str
    ok: bool
    why: str
    way_out: str = ""


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a connection can be required, and whom that would keep out.

    Attributes:
        locked_out: members who could not come in; each reason says why. They don't stand in the
            way: who leaves the organization's domains behind decides so.
    """

    checks: tuple[Check, ...]
    locked_out: tuple[LockedOut, ...]

    @property
    def is_ready(self) -> bool:
        """Whether all checks hold."""
        return all(check.ok for check in self.checks)


def readiness(*, actor: Actor, connection_id: UUID) -> Readiness:
    """What still has to be done before the connection can be required, and whom it would lock out.

    Raises:
        NotFound, PermissionDenied: the actor may not configure single sign-on there.
    """
    connection = get_connection(actor, connection_id)
    return Readiness(
        checks=tuple(_checks(connection)),
        locked_out=tuple(people_locked_out(connection)),
    )


def _checks(connection: Connection) -> Iterator[Check]:
    organization = connection.organization
    entitled = has(organization, Entitlement.SSO)
    yield Check(
        name="entitlement",
        title="The plan includes single sign-on",
        ok=entitled,
        why=f"{organization.name} has the plan {organization.plan}.",
        way_out="" if entitled else "Ask the operator of this installation to allow it.",
    )
    yield _domain_check(connection)
    usable = connection.is_usable
    missing = [] if not usable else missing_for_sign_in(connection)
    yield Check(
        name="active",
        title="The connection is on",
        ok=usable and not missing,
        why=(
            f"Its state is {connection.get_state_display().lower()}"
            + (f", and it lacks {' and '.join(missing)}." if missing else ".")
        ),
        way_out="" if usable and not missing else "Complete it, and switch it on.",
    )
    tested = connection.is_tested
    yield Check(
        name="tested",
        title="A test of this very configuration succeeded",
        ok=tested,
        why=(
            f"Tested on {connection.tested_at:%d %B %Y}."
            if tested and connection.tested_at
            else "It was changed after its last successful test."
            if connection.tested_version
            else "It was never tested with success."
        ),
        way_out="" if tested else "Test the connection.",
    )
    exercised = is_exercised(organization.pk)
    yield Check(
        name="break_glass",
        title="The way in without the identity provider was exercised",
        ok=exercised,
        why=(
            f"Somebody who still can exercised it within {EXERCISE_HOLDS.days} days."
            if exercised
            else f"{len(named(organization.pk))} owners are named for emergencies; nobody who still"
            f" can come in by password and second factor exercised it within {EXERCISE_HOLDS.days}"
            " days."
        ),
        way_out=(
            "" if exercised else "Name an owner under Emergency access, and exercise it once."
        ),
    )


def _domain_check(connection: Connection) -> Check:
    """Whether the connection has people at all. Says what becomes of domains whose proof fails."""
    domains = list(Domain.objects.filter(connection=connection).order_by("name"))
    verified = [each for each in domains if each.verified_at is not None]
    failing = [each.name for each in verified if each.failing_since is not None]
    open_ = [each.name for each in domains if each.verified_at is None]
    found = [f"Verified: {', '.join(each.name for each in verified) or 'none'}."]
    if open_:
        found.append(
            f"Not verified: {', '.join(open_)}; people of theirs could sign in by no other way"
            " either, since everybody has to use single sign-on."
        )
    if failing:
        found.append(
            f"The proof of {', '.join(failing)} is missing at the moment. A domain that lapses"
            " lets nobody in, and single sign-on stays required."
        )
    return Check(
        name="domain",
        title="The connection has a verified domain",
        ok=bool(verified),
        why=" ".join(found),
        way_out="" if verified else "Verify a domain, and assign it to the connection.",
    )


def people_locked_out(connection: Connection) -> Iterator[LockedOut]:
    """The members whom requiring it would keep out, or who are out already. Four queries."""
    organization_id = connection.organization_id
    usable = Connection.objects.filter(
        Q(state__in=(State.ACTIVE, State.ENFORCED)) | Q(pk=connection.pk),
        organization_id=organization_id,
    )
    covered = frozenset(
        Domain.objects.filter(connection__in=usable, verified_at__isnull=False).values_list(
            "name", flat=True
        )
    )
    linked = frozenset(
        Identity.objects.filter(connection__in=usable).values_list("user_id", flat=True)
    )
    emergency = named(organization_id)
    members = Membership.objects.filter(organization_id=organization_id, user__is_active=True)
    for place in members.select_related("user").order_by("user__email"):
        user = place.user
        domain = user.email.rpartition("@")[2]
        if place.suspended_at is not None:
            reason = "is suspended in the organization already"
        elif user.pk in linked:
            continue
        elif domain not in covered:
            reason = (
                f"has no identity at the identity provider, and {domain} is no verified domain of a"
                " connection"
            )
            if user.pk in emergency:
                reason += "; comes in in emergencies only"
        else:
            # Who has an account and such an address is linked at the first sign-in.
            continue
        yield LockedOut(kind="user", id=user.pk, label=user.email, reason=reason)


@transaction.atomic
def enforce(
    *, actor: Actor, connection_id: UUID, keep: str = "", check: VersionCheck = any_version
) -> Connection:
    """Let the people of the connection's domains in by it alone, and nobody into the organization
    without.

    Ends the sessions of those people, and of the organization's members, that did not come by it.
    Required already: nothing happens.

    Args:
        keep: the key of the acting owner's own session, which goes on; the next page of the
            organization leads from there to the sign-in.
        check: raises where the version is not the one that the actor has seen.

    Raises:
        NotFound, PermissionDenied, ReauthenticationRequired: the actor may not.
        FailedPrecondition: something that has to hold does not; the message has all of it.
        Aborted: no owner could come in afterwards.
    """
    connection = connection_to_change(actor, connection_id)
    check(connection.version)
    if connection.state == State.ENFORCED:
        return connection
    wrong = [each for each in _checks(connection) if not each.ok]
    if wrong:
        raise FailedPrecondition(
            "Single sign-on can't be required yet. "
            + " ".join(f"{each.title}: no. {each.why} {each.way_out}" for each in wrong)
        )
    with keeping_an_owner(connection.organization_id):
        before = connection.state
        connection.state = State.ENFORCED
        save_change(connection, decides=False)
        _set_required(connection.organization)
    ended = end_sessions_opened_otherwise(connection, actor=actor, keep=keep)
    record_change(
        EventType.SSO_ENFORCED,
        actor,
        connection,
        changes={"state": (before, State.ENFORCED.value), "sso_required": (False, True)},
        detail={"count": ended},
    )
    mail_owners(
        connection.organization_id,
        subject=f"{connection.organization.name} requires single sign-on",
        text=f"{actor.label} required the connection {connection.name} of everybody in"
        f" {connection.organization.name}. Passwords and passkeys let nobody in there any more, but"
        " owners in an emergency.\n",
    )
    return connection


@transaction.atomic
def relax(
    *, actor: Actor, connection_id: UUID, to_state: str, check: VersionCheck = any_version
) -> Connection:
    """Require the connection no longer: leave it optional (`active`), or switch it off
    (`disabled`). Not required: nothing happens.

    Raises:
        NotFound, PermissionDenied, ReauthenticationRequired: the actor may not.
        InvalidArgument: another state.
        Aborted: no owner could come in afterwards.
    """
    connection = connection_to_change(actor, connection_id)
    check(connection.version)
    if to_state not in RELAXED_STATES:
        raise InvalidArgument(
            f"A required connection becomes active or disabled, not {to_state[:20]!r}."
        )
    if connection.state != State.ENFORCED:
        return connection
    with keeping_an_owner(connection.organization_id):
        connection.state = State(to_state)
        save_change(connection, decides=False)
        still = _set_required(connection.organization)
    if not connection.is_usable:
        end_sessions_of(actor, connection)
    record_change(
        EventType.SSO_RELAXED,
        actor,
        connection,
        changes={"state": (State.ENFORCED.value, to_state), "sso_required": (True, still)},
    )
    rest = (
        "Another connection is still required, so the organization lets nobody in without."
        if still
        else "Passwords and passkeys let people in again."
    )
    mail_owners(
        connection.organization_id,
        subject=f"{connection.organization.name} no longer requires {connection.name}",
        text=f"{actor.label} took back that everybody in {connection.organization.name} has to use"
        f" the connection {connection.name}. {rest}\n",
    )
    return connection


def _set_required(organization: Organization) -> bool:
    """Bring the organization's baseline into step with its connections; what it is now."""
    required = Connection.objects.filter(organization=organization, state=State.ENFORCED).exists()
    baseline = baseline_of(organization.pk)
    if baseline.sso_required != required:
        is_new = baseline.version == 0
        baseline.sso_required = required
        baseline.version += 1
        baseline.save(force_insert=is_new)
    return required


def end_sessions_opened_otherwise(connection: Connection, *, actor: Actor, keep: str = "") -> int:
    """End the sessions of the organization's members, and of the connection's domains' people, that
    did not come by a sign-in of the organization's own; how many. Each session is read once.

    The caller has found that the connection is required. `keep`: the key of the actor's session.
    """
    names = Domain.objects.filter(connection=connection, verified_at__isnull=False)
    concerned = Q(memberships__organization=connection.organization_id)
    for name in names.values_list("name", flat=True):
        concerned |= Q(email__endswith=f"@{name}")
    people = User.objects.filter(concerned)
    rows = list(UserSession.objects.filter(user__in=people).values_list("user_id", "session_key"))
    stored = Session.objects.filter(session_key__in=[key for _, key in rows])
    good = {each.session_key for each in stored if _came_by(each, connection.organization_id)}
    ends: dict[UUID, bool] = {}
    for user_id, key in rows:
        mine = key == keep and str(user_id) == actor.id
        ends[user_id] = ends.get(user_id, False) or not (key in good or mine)
    by = system("single sign-on is required")
    return sum(
        end_sessions_from_outside(
            actor=by, user=user, keep=good | {keep} if str(user.pk) == actor.id else good
        )
        for user in User.objects.filter(pk__in=[pk for pk, some in ends.items() if some])
    )


def _came_by(session: Session, organization_id: UUID) -> bool:
    """Whether the session has a grant of the organization that is not over."""
    proofs = session.get_decoded().get(AUTHENTICATION_METHODS_SESSION_KEY, [])
    now = timezone.now().timestamp()
    return any(
        proof.get("method") in GRANTING
        and proof.get("organization") == str(organization_id)
        and float(proof.get("until", 0)) > now
        for proof in proofs
    )
