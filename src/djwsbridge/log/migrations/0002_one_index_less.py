import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("djwsbridge_log", "0001_initial"),
    ]

    operations = [
        migrations.AlterField(
            model_name="event",
            name="topic",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="events",
                to="djwsbridge_log.topic",
            ),
        ),
    ]
