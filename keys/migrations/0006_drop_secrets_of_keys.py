from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('keys', '0005_move_secrets'),
    ]

    operations = [
        migrations.RemoveField(
            model_name='apikey',
            name='digest',
        ),
        migrations.RemoveField(
            model_name='apikey',
            name='lookup_id',
        ),
        migrations.RemoveField(
            model_name='apikey',
            name='pepper',
        ),
    ]
