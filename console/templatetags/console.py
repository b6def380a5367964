"""What the dashboard's templates share."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone

from console.navigation import (
    Link,
    account_links,
    index_links,
    operator_links,
    organization_links,
    project_links,
)
from indexes.models import Index
from orgs.models import Organization
from projects.models import Project

register = template.Library()
MINUTE, HOUR, DAY = 60, 3600, 86_400
RELATIVE_DAYS = 30
ACCOUNT_AREA = "/accounts/"


@register.simple_tag(takes_context=True)
def navigation(context: template.Context) -> dict[str, list[Link]]:
    """Links of the `organization`, the `project` and the `index` that the page names."""
    request = context.get("request")
    found: dict[str, list[Link]] = {}
    if request is None:
        return found
    if request.path.startswith(ACCOUNT_AREA) and request.user.is_authenticated:
        found["account"] = account_links(request.path)
    actor = getattr(request, "actor", None)
    if actor is None:
        return found
    organization, project = context.get("organization"), context.get("project")
    if isinstance(project, Project):
        found["project"] = project_links(actor, project, request.path)
    index = context.get("index")
    if isinstance(index, Index):
        found["index"] = index_links(actor, index, request.path)
    if isinstance(organization, Organization):
        found["organization"] = organization_links(actor, organization, request.path)
    if context.get("operator_area"):
        found["operator"] = operator_links(actor, request.path)
    return found


@register.filter
def relative(value: datetime | None) -> str:
    """How long ago, or in how long, such as `3 h ago`; the date where that is over a month."""
    if value is None:
        return ""
    seconds = (timezone.now() - value).total_seconds()
    size = abs(seconds)
    if size >= RELATIVE_DAYS * DAY:
        return f"{value:%d %b %Y}".lstrip("0")
    if size < MINUTE:
        return "just now" if seconds >= 0 else "in a moment"
    for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if size >= unit:
            count = f"{int(size // unit)} {name}"
            break
    return f"{count} ago" if seconds >= 0 else f"in {count}"


@register.filter
def item(mapping: dict[Any, Any], key: Any) -> Any:
    """`mapping[key]`, or None."""
    return mapping.get(key)
