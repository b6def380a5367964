from __future__ import annotations

from typing import Any

from django.db import migrations


def vouch(apps: Any, schema_editor: Any) -> None:
    """Whoever has an account got it from an operator, who knows that the address is theirs."""
    addresses = apps.get_model("account", "EmailAddress").objects
    people = apps.get_model("orgs", "User").objects
    for person in people.only("pk", "email").iterator():
        addresses.update_or_create(
            user_id=person.pk,
            email=person.email,
            defaults={"verified": True, "primary": True},
        )


class Migration(migrations.Migration):
    dependencies = [
        ("orgs", "0003_outgoing_mail"),
        ("account", "0009_emailaddress_unique_primary_email"),
    ]
    operations = [migrations.RunPython(vouch, migrations.RunPython.noop, elidable=True)]
