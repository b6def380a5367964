"""Keys that were found in the open: taking reports, and doing what the keys' owners want then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction

from audit.events import EventType
from audit.services import record
from keys.models import KeyPolicy, LeakReport
from keys.selectors.leaks import secrets_among
from keys.services.limits import check_leak_policy
from keys.tasks import ask_to_handle
from orgs.actors import Actor
from orgs.errors import no_such
from orgs.permissions import Permission, authorize
from orgs.services.checks import VersionCheck, any_version
from projects.models import Project

URL_LENGTH = 500
MAX_LEAKS = 100
"""In one report."""


@dataclass(frozen=True, slots=True)
class Leak:
    """One find of a report.

    Attributes:
        text: a key, or its SHA-256 in hexadecimal.
        url: where it was found, in the reporter's words.
    """

    text: str
    url: str = ""


@transaction.atomic
def report_leaks(*, leaks: Sequence[Leak], ip: str, request_id: str) -> None:
    """Write down which of the finds are keys of ours; what follows from it is done later.

    Anybody may report: who has a key could misuse it anyhow, and whoever has not learns nothing,
    since the same is done and answered for finds that are no keys.

    Raises:
        KeyUnavailable: the peppers can't be opened.
    """
    found = secrets_among([leak.text for leak in leaks])
    report = LeakReport.objects.create(
        found=[
            {"secret_id": str(found[leak.text]), "url": _shown(leak.url)}
            for leak in leaks
            if leak.text in found
        ],
        ip=ip,
        request_id=request_id,
    )
    report_id = report.pk
    transaction.on_commit(lambda: ask_to_handle(report_id), robust=True)


def _shown(url: str) -> str:
    return "".join(each for each in url if each.isprintable())[:URL_LENGTH]


@transaction.atomic
def set_leak_policy(
    *, actor: Actor, project_id: UUID, leak_policy: str, check: VersionCheck = any_version
) -> KeyPolicy:
    """What happens to leaked keys of the project that don't say otherwise.

    Raises:
        NotFound, PermissionDenied: no such project for the actor, or it may not change it.
        InvalidArgument: no such policy.
        Exception: whatever `check` raises.
    """
    what = f"project {project_id}"
    project = Project.objects.select_for_update().filter(pk=project_id).first()
    if project is None:
        raise no_such(what)
    authorize(
        actor,
        Permission.PROJECT_UPDATE,
        organization_id=project.organization_id,
        project_id=project_id,
        what=what,
    )
    policy = KeyPolicy.objects.filter(pk=project_id).first() or KeyPolicy(
        project=project, version=0
    )
    check(policy.version)
    before = policy.leak_policy
    if (after := check_leak_policy(leak_policy)) != before:
        policy.leak_policy = after
        policy.version += 1
        policy.save()
        record(
            EventType.API_KEY_POLICY_UPDATED,
            actor=actor,
            organization_id=project.organization_id,
            resource=("project", project.pk, project.name),
            permission=Permission.PROJECT_UPDATE,
            detail={"project_id": str(project.pk)},
            changes={"leak_policy": (before, after)},
        )
    return policy
