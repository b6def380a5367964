"""Events that were recorded before there were logs are sealed like all others."""

from uuid import UUID

from django.db import migrations

BATCH = 1000


def queue(apps, _):
    events = apps.get_model("audit", "AuditEvent").objects
    unsealed = apps.get_model("audit", "UnsealedEvent").objects
    sealed = apps.get_model("audit", "SealedEvent").objects
    waiting = (
        events.exclude(pk__in=unsealed.values("event_id"))
        .exclude(pk__in=sealed.values("event_id"))
        .values_list("pk", "organization_id")
    )
    while found := list(waiting[:BATCH]):
        unsealed.bulk_create(
            unsealed.model(event_id=pk, log_id=organization_id or UUID(int=0))
            for pk, organization_id in found
        )


class Migration(migrations.Migration):
    dependencies = [("audit", "0003_sealing_and_streams")]
    operations = [migrations.RunPython(queue, migrations.RunPython.noop)]
