from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("sso", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="signinrequest",
            name="is_forced",
            field=models.BooleanField(default=False),
        ),
    ]
