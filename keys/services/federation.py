"""Issuers and rules of workload identity federation, and exchanging tokens under them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from audit.events import EventType
from audit.services import record
from keys import federation, opaque
from keys.federation import Malformed, Step, Unverified
from keys.models import AccessToken, FederationRule, OidcIssuer, ServiceAccount
from keys.selectors.federation import get_issuer
from keys.selectors.service_accounts import label_of
from keys.services.service_accounts import check_account_ceiling, check_account_name
from keys.services.tokens import Asker, OAuthError, issue_on, refusal
from orgs.actors import Actor
from orgs.entitlements import require
from orgs.errors import AlreadyExists, InvalidArgument, QuotaExceeded, no_such
from orgs.permissions import Permission, authorize
from orgs.plans import Entitlement
from orgs.services.owners import lock_organization
from rest.wording import shown

MAX_ISSUERS, MAX_RULES = 50, 500
TEXT_LENGTH = 500
RETRY_AFTER = timedelta(minutes=1)
"""Keys are fetched at most this often, whatever tokens arrive."""
STALE_AFTER = timedelta(hours=1)
"""Older keys are fetched anew: one that the issuer took back must not be believed for long."""
DEAD_AFTER = timedelta(hours=24)
"""Older keys are not believed any more, even where new ones can't be had."""
KeySource = OidcIssuer.KeySource
CheckVersion = Callable[[int], None]


@transaction.atomic
def create_issuer(
    *,
    actor: Actor,
    organization_id: UUID,
    name: str,
    issuer: str,
    audience: str,
    jwks_uri: str = "",
    jwks: Mapping[str, Any] | None = None,
) -> OidcIssuer:
    """An issuer whose tokens rules may let in.

    Its keys are `jwks` where given, else fetched from `jwks_uri`, else from where its discovery
    document says; fetching waits until the first token arrives.

    Args:
        issuer: the `iss` of its tokens, compared as it is.
        audience: what the tokens have to be made for.

    Raises:
        NotFound, PermissionDenied: the actor may not do it there, or the plan has no service
            accounts.
        QuotaExceeded: the organization has 50 issuers.
        InvalidArgument: a value breaks its rule.
        AlreadyExists: the organization has that issuer for that audience.
    """
    what = f"organization {organization_id}"
    authorize(actor, Permission.SERVICE_ACCOUNT_MANAGE, organization_id=organization_id, what=what)
    organization = lock_organization(organization_id)
    if organization is None:
        raise no_such(what)
    require(organization, Entitlement.SERVICE_ACCOUNTS)
    if OidcIssuer.objects.filter(organization=organization).count() >= MAX_ISSUERS:
        raise QuotaExceeded(f"An organization has at most {MAX_ISSUERS} issuers. Remove some.")
    row = OidcIssuer(
        organization=organization,
        name=check_account_name(name, "issuer"),
        issuer=_checked_text(issuer, "issuer"),
        audience=_checked_text(audience, "audience"),
        created_by=actor.label,
    )
    _set_keys(row, jwks_uri, jwks)
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError as error:
        raise AlreadyExists(
            f"The organization has the issuer {shown(issuer)} for the audience {shown(audience)}"
            " already. Change that one."
        ) from error
    _record(EventType.FEDERATION_ISSUER_CREATED, actor, row, _facts(row))
    return row


def _checked_text(text: str, what: str) -> str:
    if not 1 <= len(text) <= TEXT_LENGTH or not text.isprintable() or text != text.strip():
        raise InvalidArgument(
            f"The {what} {shown(text)} has to have 1 to {TEXT_LENGTH} printable characters, none"
            " of them white space at an end."
        )
    return text


def _set_keys(row: OidcIssuer, jwks_uri: str, jwks: Mapping[str, Any] | None) -> None:
    if jwks_uri and jwks is not None:
        raise InvalidArgument("Give jwks or jwks_uri, not both.")
    row.jwks_uri, row.jwks = "", None
    row.jwks_fetched_at = row.jwks_tried_at = None
    row.jwks_error = ""
    if jwks is not None:
        row.key_source = KeySource.STATIC
        row.jwks = federation.public_keys(jwks, strict=True)
    elif jwks_uri:
        row.key_source = KeySource.URI
        row.jwks_uri = federation.check_https(_checked_text(jwks_uri, "jwks_uri"), "jwks_uri")
    else:
        row.key_source = KeySource.DISCOVERY
        if "?" in row.issuer:
            raise InvalidArgument(
                f"The issuer {shown(row.issuer)} can't be discovered, having a query: give"
                " jwks_uri or jwks."
            )
        federation.check_https(row.issuer, "issuer")


def _facts(row: OidcIssuer) -> dict[str, object]:
    return {
        "issuer": row.issuer,
        "audience": row.audience,
        "key_source": str(row.key_source),
        "jwks_uri": row.jwks_uri,
    }


def _record(
    event: EventType,
    actor: Actor,
    row: OidcIssuer | FederationRule,
    detail: Mapping[str, object] | None = None,
    changes: Mapping[str, tuple[object, object]] | None = None,
) -> None:
    issuer = row if isinstance(row, OidcIssuer) else row.issuer
    kind = "federation_issuer" if isinstance(row, OidcIssuer) else "federation_rule"
    record(
        event,
        actor=actor,
        organization_id=issuer.organization_id,
        resource=(kind, row.pk, row.name),
        permission=Permission.SERVICE_ACCOUNT_MANAGE,
        detail=detail,
        changes=changes,
    )


def _managed_issuer(actor: Actor, issuer_id: UUID) -> OidcIssuer:
    """The issuer, locked, for an actor who may manage it. Locks go from issuers to accounts."""
    issuer = OidcIssuer.objects.select_for_update().filter(pk=issuer_id).first()
    what = f"issuer {issuer_id}"
    if issuer is None:
        raise no_such(what)
    authorize(
        actor,
        Permission.SERVICE_ACCOUNT_MANAGE,
        organization_id=issuer.organization_id,
        what=what,
    )
    return issuer


def _lock_accounts(issuer: OidcIssuer) -> list[ServiceAccount]:
    """The accounts that the issuer's tokens may stand for: none gets a token meanwhile."""
    ids = FederationRule.objects.filter(issuer=issuer).values("account_id")
    return list(ServiceAccount.objects.select_for_update().filter(pk__in=ids).order_by("pk"))


@transaction.atomic
def update_issuer(
    *,
    actor: Actor,
    issuer_id: UUID,
    changes: Mapping[str, Any],
    check_version: CheckVersion | None = None,
) -> OidcIssuer:
    """Change `name`, `audience`, `jwks_uri` or `jwks`; the last two replace each other.

    Where more than the name changes, the tokens issued under its rules end.

    Raises:
        NotFound, PermissionDenied: the actor may not change it, or one of its rules stands for an
            account that may do more than the actor.
        InvalidArgument: a value breaks its rule.
        AlreadyExists: the organization has the issuer for that audience.
    """
    issuer = _managed_issuer(actor, issuer_id)
    if check_version is not None:
        check_version(issuer.version)
    accounts = _lock_accounts(issuer)
    before = {"name": issuer.name, **_facts(issuer)}
    if "name" in changes:
        issuer.name = check_account_name(changes["name"], "issuer")
    if changes.keys() - {"name"}:
        for account in accounts:
            check_account_ceiling(actor, account)
        issuer.audience = _checked_text(changes.get("audience", issuer.audience), "audience")
        if changes.keys() & {"jwks_uri", "jwks"}:
            _set_keys(issuer, changes.get("jwks_uri", ""), changes.get("jwks"))
        AccessToken.objects.filter(rule__issuer=issuer).delete()
    issuer.version += 1
    try:
        with transaction.atomic():
            issuer.save()
    except IntegrityError as error:
        raise AlreadyExists(
            f"The organization has the issuer {shown(issuer.issuer)} for the audience"
            f" {shown(issuer.audience)} already."
        ) from error
    after = {"name": issuer.name, **_facts(issuer)}
    changed = {name: (before[name], after[name]) for name in after if before[name] != after[name]}
    if "jwks" in changes:
        changed["jwks"] = ("", "")
    _record(EventType.FEDERATION_ISSUER_UPDATED, actor, issuer, changes=changed)
    return issuer


@transaction.atomic
def delete_issuer(*, actor: Actor, issuer_id: UUID) -> None:
    """Delete the issuer with its rules and the tokens issued under them, at once.

    Raises:
        NotFound, PermissionDenied: the actor may not delete it.
    """
    issuer = _managed_issuer(actor, issuer_id)
    _lock_accounts(issuer)
    _record(EventType.FEDERATION_ISSUER_DELETED, actor, issuer, _facts(issuer))
    issuer.delete()


@transaction.atomic
def create_rule(
    *,
    actor: Actor,
    issuer_id: UUID,
    account_id: UUID,
    name: str,
    conditions: Mapping[str, str],
) -> FederationRule:
    """A rule: tokens of the issuer that meet all conditions stand for the service account.

    Raises:
        NotFound, PermissionDenied: the actor may not do it there, or the account may do more than
            the actor.
        QuotaExceeded: the issuer has 500 rules.
        InvalidArgument: the account belongs to another organization, or the conditions let in
            everybody.
    """
    issuer = _managed_issuer(actor, issuer_id)
    account = _account(issuer, account_id)
    check_account_ceiling(actor, account)
    if FederationRule.objects.filter(issuer=issuer).count() >= MAX_RULES:
        raise QuotaExceeded(f"An issuer has at most {MAX_RULES} rules. Remove some.")
    rule = FederationRule.objects.create(
        issuer=issuer,
        account=account,
        name=check_account_name(name, "rule"),
        conditions=federation.checked_conditions(issuer.issuer, conditions),
        created_by=actor.label,
    )
    detail = {"service_account_id": str(account.pk), "conditions": _lines(rule.conditions)}
    _record(EventType.FEDERATION_RULE_CREATED, actor, rule, detail)
    return rule


def _account(issuer: OidcIssuer, account_id: UUID) -> ServiceAccount:
    """The account, locked, of the issuer's organization.

    Raises:
        NotFound: there is none of that id in the organization.
    """
    account = (
        ServiceAccount.objects.select_for_update()
        .filter(pk=account_id, organization_id=issuer.organization_id)
        .first()
    )
    if account is None:
        raise no_such(label_of(account_id))
    return account


def _lines(conditions: Mapping[str, str]) -> list[str]:
    return [f"{claim}: {pattern}" for claim, pattern in sorted(conditions.items())]


def _managed_rule(actor: Actor, rule_id: UUID) -> FederationRule:
    """The rule with its issuer and account, all locked, for an actor who may manage it."""
    what = f"federation rule {rule_id}"
    found = FederationRule.objects.select_related("issuer").filter(pk=rule_id).first()
    if found is None:
        raise no_such(what)
    organization_id = found.issuer.organization_id
    authorize(actor, Permission.SERVICE_ACCOUNT_MANAGE, organization_id=organization_id, what=what)
    issuer = OidcIssuer.objects.select_for_update().filter(pk=found.issuer_id).first()
    account = ServiceAccount.objects.select_for_update().filter(pk=found.account_id).first()
    rule = FederationRule.objects.select_for_update().filter(pk=rule_id).first()
    if issuer is None or account is None or rule is None:
        raise no_such(what)
    rule.issuer, rule.account = issuer, account
    return rule


@transaction.atomic
def update_rule(
    *,
    actor: Actor,
    rule_id: UUID,
    name: str | None = None,
    conditions: Mapping[str, str] | None = None,
    check_version: CheckVersion | None = None,
) -> FederationRule:
    """Give the rule another name or other conditions; with other ones, its tokens end.

    Raises:
        NotFound, PermissionDenied: the actor may not change it, or its account may do more than
            the actor.
        InvalidArgument: the conditions let in everybody.
    """
    rule = _managed_rule(actor, rule_id)
    if check_version is not None:
        check_version(rule.version)
    changes: dict[str, tuple[object, object]] = {}
    if name is not None:
        before, rule.name = rule.name, check_account_name(name, "rule")
        changes["name"] = before, rule.name
    if conditions is not None:
        check_account_ceiling(actor, rule.account)
        old = rule.conditions
        rule.conditions = federation.checked_conditions(rule.issuer.issuer, conditions)
        changes["conditions"] = _lines(old), _lines(rule.conditions)
        rule.tokens.all().delete()
    rule.version += 1
    rule.save()
    _record(EventType.FEDERATION_RULE_UPDATED, actor, rule, changes=changes)
    return rule


@transaction.atomic
def delete_rule(*, actor: Actor, rule_id: UUID) -> None:
    """Delete the rule and the tokens issued under it, at once.

    Raises:
        NotFound, PermissionDenied: the actor may not delete it.
    """
    rule = _managed_rule(actor, rule_id)
    _record(EventType.FEDERATION_RULE_DELETED, actor, rule)
    rule.delete()


def exchange_token(*, client_id: str, subject_token: str, asker: Asker) -> tuple[AccessToken, str]:
    """A token for the service account that another party's token may stand for.

    A token may be exchanged again until it expires: its bearer could not otherwise get over a lost
    answer, and a job runs longer than 30 minutes. What failed is told to the audit trail alone: a
    stranger must not learn the rules by trying.

    Raises:
        TokenRefused: INVALID_GRANT where no rule of the account lets it in; else as `issue_on`.
    """
    known = client_id if opaque.is_client_id(client_id) else ""
    account = ServiceAccount.objects.filter(client_id=known).first()
    failed = "form"
    try:
        token = federation.read(subject_token)
    except Malformed:
        rules: Sequence[FederationRule] = ()
    else:
        failed = "issuer"
        rules = _rules_for(account, token)
    for rule in rules:
        steps = verdict(token, rule.issuer, rule.conditions)
        wrong = next((step for step in steps if not step.ok), None)
        if wrong is None:
            return issue_on(rule, asker=asker, via=_who(rule, token))
        failed = wrong.name
    raise refusal(
        OAuthError.INVALID_GRANT,
        "The token meets no federation rule of this client. Its organization's rule tester and"
        " audit trail tell why.",
        asker=asker,
        account=account,
        reason=f"token exchange: {failed}",
    )


def _rules_for(account: ServiceAccount | None, token: Unverified) -> Sequence[FederationRule]:
    """The account's rules for the issuer that the token names."""
    issuer = token.claims.get("iss")
    if account is None or not isinstance(issuer, str) or len(issuer) > TEXT_LENGTH:
        return ()
    rules = FederationRule.objects.filter(account=account).select_related(
        "issuer", "account__organization__security_baseline"
    )
    # Compared here: the database could not read every text that a token may hold.
    return [rule for rule in rules if rule.issuer.issuer == issuer]


def _who(rule: FederationRule, token: Unverified) -> dict[str, str]:
    return {
        "issuer": rule.issuer.issuer,
        "subject": str(token.claims["sub"])[:TEXT_LENGTH],
        "rule_id": str(rule.pk),
    }


def verdict(token: Unverified, issuer: OidcIssuer, conditions: Mapping[str, str]) -> list[Step]:
    """Every check of the token against the issuer and a rule's conditions, in order."""
    steps = federation.check_header(token)
    if all(step.ok for step in steps):
        keys, problem = keys_for(issuer, token.kid)
        signature = federation.check_signature(token, keys)
        if problem and not signature[0].ok:
            signature = [Step("key", False, f"{signature[0].text} {problem}")]
        steps += signature
    steps += federation.check_claims(
        token.claims, issuer=issuer.issuer, audience=issuer.audience, now=time.time()
    )
    return [*steps, *federation.check_conditions(token.claims, conditions)]


def keys_for(issuer: OidcIssuer, kid: str) -> tuple[list[dict[str, Any]], str]:
    """The issuer's keys, fetched where that one is not among them, and why that did not work.

    At most one fetch a minute, by one process. Called outside a transaction: a slow issuer must
    hold up nobody else.
    """
    if issuer.key_source == KeySource.STATIC:
        return _keys(issuer), ""
    now = timezone.now()
    fetched = issuer.jwks_fetched_at
    is_stale = fetched is None or fetched < now - STALE_AFTER
    if is_stale or kid not in {key["kid"] for key in _keys(issuer)}:
        _refresh(issuer)
    fetched = issuer.jwks_fetched_at
    if fetched is None or fetched < now - DEAD_AFTER:
        return [], f"The keys could not be fetched: {issuer.jwks_error or 'not tried yet.'}"
    return _keys(issuer), issuer.jwks_error


def _keys(issuer: OidcIssuer) -> list[dict[str, Any]]:
    keys: list[dict[str, Any]] = (issuer.jwks or {}).get("keys", [])
    return keys


def _refresh(issuer: OidcIssuer) -> None:
    """Fetch the keys, unless that was tried within a minute; the row then tells what is known."""
    now = timezone.now()
    rows = OidcIssuer.objects.filter(pk=issuer.pk, version=issuer.version)
    claimed = rows.filter(Q(jwks_tried_at=None) | Q(jwks_tried_at__lte=now - RETRY_AFTER)).update(
        jwks_tried_at=now
    )
    if claimed:
        try:
            jwks = federation.fetch_keys(issuer=issuer.issuer, jwks_uri=issuer.jwks_uri)
        except federation.Unfetched as error:
            rows.update(jwks_error=str(error)[:TEXT_LENGTH])
        else:
            rows.update(jwks=jwks, jwks_fetched_at=timezone.now(), jwks_error="")
    found = rows.first()
    if found is not None:
        issuer.jwks, issuer.jwks_error = found.jwks, found.jwks_error
        issuer.jwks_fetched_at = found.jwks_fetched_at


def try_token(
    *, actor: Actor, issuer_id: UUID, conditions: Mapping[str, str], text: str
) -> list[Step]:
    """How a token would fare, check by check, without issuing anything.

    The issuer's keys may be fetched for it.

    Raises:
        NotFound, PermissionDenied: the actor may not see the issuer.
    """
    issuer = get_issuer(actor, issuer_id)
    try:
        token = federation.read(text)
    except Malformed as error:
        return [Step("form", False, str(error))]
    form = Step("form", True, "It has the form of a signed token.")
    return [form, *verdict(token, issuer, conditions)]
