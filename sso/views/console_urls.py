"""The addresses of the pages for owners and of the set-up link."""

from __future__ import annotations

from django.urls import path

from sso.views import (
    console,
    console_domains,
    console_enforcement,
    console_people,
    console_settings,
    console_setup,
    setup,
)

ORGANIZATION = "organizations/<uuid:organization_id>/sso/"
CONNECTION = f"{ORGANIZATION}connections/<uuid:connection_id>/"
urlpatterns = [
    path(ORGANIZATION, console.overview, name="overview"),
    path(f"{ORGANIZATION}new/", console.create, name="create"),
    path(CONNECTION, console_setup.connection, name="connection"),
    path(f"{CONNECTION}identity-provider/", console_setup.provider, name="provider"),
    path(f"{CONNECTION}setup-link/", console_setup.setup_link, name="setup_link"),
    path(f"{CONNECTION}state/", console.state, name="state"),
    path(f"{CONNECTION}switch-off/", console.switch_off, name="switch_off"),
    path(f"{CONNECTION}delete/", console.delete, name="delete"),
    path(f"{CONNECTION}settings/", console_settings.settings, name="settings"),
    path(f"{CONNECTION}roles/", console_settings.roles, name="roles"),
    path(f"{CONNECTION}certificates/", console_settings.certificates, name="certificates"),
    path(
        f"{CONNECTION}certificates/<uuid:certificate_id>/remove/",
        console_settings.certificate_remove,
        name="certificate_remove",
    ),
    path(f"{CONNECTION}log/", console_people.log, name="log"),
    path(f"{CONNECTION}log/<uuid:attempt_id>/", console_people.attempt, name="attempt"),
    path(f"{CONNECTION}people/", console_people.people, name="people"),
    path(f"{CONNECTION}people/<uuid:identity_id>/unlink/", console_people.unlink, name="unlink"),
    path(f"{CONNECTION}scim/", console_people.scim, name="scim"),
    path(
        f"{CONNECTION}scim/<uuid:token_id>/revoke/", console_people.scim_revoke, name="scim_revoke"
    ),
    path(f"{CONNECTION}require/", console_enforcement.require, name="require"),
    path(f"{CONNECTION}relax/", console_enforcement.relax_, name="relax"),
    path(f"{ORGANIZATION}domains/", console_domains.domains, name="domains"),
    path(f"{ORGANIZATION}domains/<uuid:domain_id>/", console_domains.domain, name="domain"),
    path(
        f"{ORGANIZATION}domains/<uuid:domain_id>/remove/",
        console_domains.domain_remove,
        name="domain_remove",
    ),
    path(f"{ORGANIZATION}break-glass/", console_enforcement.break_glass, name="break_glass_owners"),
    path("sso/setup/<str:token>/", setup.setup, name="setup"),
]
