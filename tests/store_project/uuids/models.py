"""Models that differ from the README's wherever they may."""

import uuid
from typing import ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.db import models


class Person(AbstractBaseUser):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    email = models.EmailField(unique=True)
    is_active = models.BooleanField(default=True)
    objects = BaseUserManager()

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []


class Chat(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    participants = models.ManyToManyField(Person, through="Seat")

    def __str__(self) -> str:
        return str(self.pk)


class Seat(models.Model):
    """A through model of the developer's own."""

    chat = models.ForeignKey(Chat, on_delete=models.CASCADE)
    person = models.ForeignKey(Person, on_delete=models.CASCADE)
    joined = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.person} in {self.chat}"


class Message(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    chat = models.ForeignKey(Chat, on_delete=models.CASCADE)
    sender = models.ForeignKey(Person, on_delete=models.CASCADE)
    content = models.CharField(max_length=100)
    subject = models.CharField(max_length=100)
    priority = models.IntegerField()

    def __str__(self) -> str:
        return self.subject
