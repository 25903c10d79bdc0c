"""Where the tables of each app are."""

from django.db.models import Model

# Each of these refers to users.
MESSAGES = {"admin", "auth", "contenttypes", "djwsbridge_chat", "djwsbridge_log", "people"}


class Router:
    def db_for_read(self, model: type[Model], **hints: object) -> str:
        return "messages" if model._meta.app_label in MESSAGES else "default"

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **hints: object) -> bool:
        return (db == "messages") == (app_label in MESSAGES)
