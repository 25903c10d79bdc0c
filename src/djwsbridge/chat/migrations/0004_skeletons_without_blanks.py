from typing import Any

from django.db import migrations

BATCH = 500  # keys in one statement; SQLite takes a thousand


def forget(apps: Any, schema_editor: Any) -> None:
    """Delete the skeletons that may hold a blank; `check_username` stores them anew."""
    rows = apps.get_model("djwsbridge_chat", "NameSkeleton").objects.using(
        schema_editor.connection.alias
    )
    stale = [
        key
        for key, name in rows.values_list("pk", "name").iterator()
        if not (name.isascii() and name.isprintable() and " " not in name)
    ]
    for start in range(0, len(stale), BATCH):
        rows.filter(pk__in=stale[start : start + BATCH]).delete()


class Migration(migrations.Migration):
    dependencies = [("djwsbridge_chat", "0003_two_indexes_less")]

    operations = [migrations.RunPython(forget, migrations.RunPython.noop)]
