# Every key's secret gets a row of its own. Apart from the changes of the tables, because PostgreSQL
# alters no table that has rows waiting for their foreign keys to be checked.

from django.db import migrations


def move(apps, schema_editor):
    api_key = apps.get_model('keys', 'ApiKey')
    secret = apps.get_model('keys', 'ApiKeySecret')
    keys = api_key.objects.filter(secrets=None)
    for key in keys.iterator(chunk_size=1000):
        secret.objects.create(
            key_id=key.pk,
            slot='current',
            lookup_id=key.lookup_id,
            digest=key.digest,
            pepper_id=key.pepper_id,
            created_at=key.created_at,
        )


class Migration(migrations.Migration):

    dependencies = [
        ('keys', '0004_api_key_secrets'),
    ]

    operations = [
        # Back again: the migration after this one can't be undone where there are keys.
        migrations.RunPython(move, migrations.RunPython.noop),
    ]
