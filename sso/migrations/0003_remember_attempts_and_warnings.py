from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("sso", "0002_sign_in_requests_may_be_forced"),
    ]

    operations = [
        migrations.AddField(
            model_name="connection",
            name="metadata_tried_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="domain",
            name="is_vouched",
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name="spkey",
            name="warned_days",
            field=models.PositiveSmallIntegerField(blank=True, null=True),
        ),
    ]
