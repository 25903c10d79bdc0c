"""System checks of the Store way: each with models that it complains about, and those that it leaves in peace."""

# ruff: noqa: DJ008  nobody reads the rows of these models
from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.checks import CheckMessage, run_checks
from django.db import connections, models
from django.test.utils import isolate_apps

from djwsbridge import store_checks
from djwsbridge.store_checks import check_store

with isolate_apps("tests") as registry:
    for known in (User, Group):  # relations to them are complete when the registry knows them
        registry.register_model("auth", known)

    class Model(models.Model):
        class Meta:
            abstract = True
            app_label = "tests"

    class Profile(Model):
        user = models.OneToOneField(User, models.CASCADE)

    class Chat(Model):
        participants = models.ManyToManyField(User)
        created = models.DateTimeField(auto_now_add=True)
        note = models.TextField(blank=True)
        type = models.CharField(max_length=9, blank=True)

    class Message(Model):
        chat = models.ForeignKey(Chat, models.CASCADE)
        sender = models.ForeignKey(User, models.CASCADE)
        content = models.TextField()

    class Staff(User):
        class Meta:
            proxy = True
            app_label = "tests"

    class AdvertChat(Model):
        participants = models.ManyToManyField(User)
        advert = models.ForeignKey(Group, models.CASCADE)

    class TypedChat(Model):
        participants = models.ManyToManyField(User)
        type = models.IntegerField()

    class KeyedChat(Model):
        key = models.CharField(max_length=9, primary_key=True)
        participants = models.ManyToManyField(User)

    class PartChat(Model):
        participants = models.ManyToManyField(User, through="Part")

    class Part(Model):
        chat = models.ForeignKey(PartChat, models.CASCADE)
        person = models.ForeignKey(User, models.CASCADE)
        rank = models.IntegerField()

    class ProfileChat(Model):
        participants = models.ManyToManyField(Profile)

    class StaffChat(Model):
        participants = models.ManyToManyField(Staff)

    class ProfileMessage(Model):
        chat = models.ForeignKey(Chat, models.CASCADE)
        sender = models.ForeignKey(Profile, models.CASCADE)
        content = models.TextField()

    class NumberMessage(Model):
        chat = models.ForeignKey(Chat, models.CASCADE)
        sender = models.IntegerField()
        content = models.TextField()

    class OtherMessage(Model):
        chat = models.ForeignKey(Group, models.CASCADE)
        sender = models.ForeignKey(Staff, models.CASCADE)
        content = models.TextField()


def fill(**_: object) -> dict[str, object]:
    """Fill nothing."""
    return {}


FILL = f"{__name__}.fill"


@pytest.fixture
def use_models(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    def use(chat: type[models.Model] = Chat, message: type[models.Model] | None = None) -> None:
        if message is None:
            message = Message if chat is Chat else message_of(chat)
        monkeypatch.setattr(store_checks, "get_chat_model", lambda: chat)
        monkeypatch.setattr(store_checks, "get_message_model", lambda: message)

    return use


def message_of(chat: type[models.Model]) -> type[models.Model]:
    """Return a message model for a chat model."""
    with isolate_apps("tests"):
        fields = {
            "chat": models.ForeignKey(chat, models.CASCADE),
            "sender": models.ForeignKey(User, models.CASCADE),
            "content": models.TextField(),
            "Meta": type("Meta", (), {"app_label": "tests"}),
            "__module__": __name__,
        }
        return type("Message", (models.Model,), fields)


def complaints() -> dict[str, CheckMessage]:
    found = check_store(None)
    assert len({message.id for message in found}) == len(found)
    return {str(message.id).removeprefix("djwsbridge."): message for message in found}


def assert_complains(code: str, text: str, hint: str) -> None:
    found = complaints()
    assert set(found) == {code}
    assert re.search(text, found[code].msg)
    assert hint in str(found[code].hint)


def test_every_check_says_what_and_what_to_do() -> None:
    ids = re.findall(r'id="djwsbridge\.(\w+)"', Path(store_checks.__file__).read_text())
    tests = Path(__file__).read_text()
    assert len(ids) == len(set(ids))
    for code in ids:
        assert f'assert_complains("{code}"' in tests, code


def test_the_checks_are_registered(settings: Any) -> None:
    settings.DJWSBRIDGE_GET_CHAT = "no.such.thing"
    assert "djwsbridge.E013" in {message.id for message in run_checks()}


@pytest.mark.parametrize("chat", [Chat, StaffChat])
def test_sound_models_are_left_in_peace(use_models: Any, chat: type[models.Model]) -> None:
    use_models(chat)
    assert complaints() == {}


def test_without_models_there_is_nothing_to_say() -> None:
    assert complaints() == {}


@pytest.mark.parametrize("name", ["DJWSBRIDGE_CHAT_DEFAULTS", "DJWSBRIDGE_GET_CHAT"])
@pytest.mark.parametrize("path", ["no.such.thing", f"{__name__}.FILL"])
def test_a_function_that_is_none(settings: Any, name: str, path: str) -> None:
    setattr(settings, name, path)
    assert_complains("E013", f"{name} cannot be used", "function(sender, recipient, frame) -> ")


@pytest.mark.parametrize("chat", [AdvertChat, TypedChat])
def test_a_required_field_of_the_chat(
    use_models: Any, settings: Any, chat: type[models.Model]
) -> None:
    use_models(chat)
    assert_complains("E014", rf"{chat.__name__}\.\w+ is required", "DJWSBRIDGE_CHAT_DEFAULTS")
    settings.DJWSBRIDGE_CHAT_DEFAULTS = FILL
    assert complaints() == {}


def test_a_key_that_nothing_gives(use_models: Any) -> None:
    use_models(KeyedChat)
    assert_complains("E014", r"KeyedChat\.key is required", "DJWSBRIDGE_CHAT_DEFAULTS")


def test_a_required_column_between_chats_and_people(use_models: Any, settings: Any) -> None:
    use_models(PartChat)
    assert_complains("E014", r"Part\.rank is required", "DJWSBRIDGE_GET_CHAT")
    settings.DJWSBRIDGE_CHAT_DEFAULTS = FILL
    assert_complains("E014", r"Part\.rank is required", "DJWSBRIDGE_GET_CHAT")
    settings.DJWSBRIDGE_GET_CHAT = FILL
    assert complaints() == {}


def test_participants_that_are_profiles(use_models: Any, settings: Any) -> None:
    use_models(ProfileChat)
    assert_complains("E015", r"ProfileChat\.participants does not lead to User", "GET_CHAT")
    settings.DJWSBRIDGE_GET_CHAT = FILL
    assert complaints() == {}


def test_a_sender_that_is_a_profile(use_models: Any, settings: Any) -> None:
    use_models(message=ProfileMessage)
    assert_complains("E015", r"ProfileMessage\.sender does not lead", "DJWSBRIDGE_MESSAGE_DEFAULTS")
    settings.DJWSBRIDGE_MESSAGE_DEFAULTS = FILL
    assert complaints() == {}


def test_a_sender_that_is_no_relation(use_models: Any, settings: Any) -> None:
    settings.DJWSBRIDGE_MESSAGE_DEFAULTS = FILL
    use_models(message=NumberMessage)
    assert_complains("E015", r"NumberMessage\.sender does not lead", "AUTH_USER_MODEL")


def test_a_message_of_another_chat(use_models: Any) -> None:
    use_models(message=OtherMessage)
    assert_complains("E015", r"OtherMessage\.chat does not lead to Chat", "DJWSBRIDGE_CHAT_MODEL")


class Elsewhere:
    """Chats are written to another database."""

    def db_for_write(self, model: type[models.Model], **hints: object) -> str | None:
        """Return the alias."""
        return "elsewhere" if model is Chat else None


def test_models_in_several_databases(use_models: Any, settings: Any) -> None:
    use_models()
    settings.DATABASE_ROUTERS = [Elsewhere()]
    assert_complains("E016", "Chat to `elsewhere`", "DATABASE_ROUTERS")


def test_a_database_that_commits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections["default"].settings_dict, "AUTOCOMMIT", False)
    assert_complains("E017", "AUTOCOMMIT of the database `default` is off", "ATOMIC_REQUESTS")
