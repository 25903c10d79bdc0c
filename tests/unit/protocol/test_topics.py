"""Which topic is whose."""

from __future__ import annotations

import re
import uuid

import pytest
from channels.layers import InMemoryChannelLayer
from hypothesis import given
from hypothesis import strategies as st

from djwsbridge.engine.channel_layer import _own_group, _seed_group
from djwsbridge.protocol.frames import MAX_INTEGER, TOPIC_PATTERN
from djwsbridge.protocol.topics import user_topic

keys = st.text(st.characters(codec="utf-8"), max_size=300) | st.from_regex(r"\A[\w.\-]{1,90}\Z")


@given(
    st.integers(-MAX_INTEGER, MAX_INTEGER) | st.uuids() | st.from_regex(r"\A[A-Za-z0-9_-]{1,75}\Z")
)
def test_a_key_that_fits_stands_in_the_topic_as_it_is(key: int | uuid.UUID | str) -> None:
    assert user_topic(key) == user_topic(str(key)) == f"user.{key}"


@given(keys)
def test_every_key_has_a_topic_that_every_part_can_carry(key: str) -> None:
    topic = user_topic(key)
    assert re.search(TOPIC_PATTERN, topic)
    layer = InMemoryChannelLayer()
    assert layer.require_valid_group_name(_own_group(topic))
    assert layer.require_valid_group_name(_seed_group(topic))


@given(keys, keys)
def test_two_keys_have_two_topics(one: str, other: str) -> None:
    assert (user_topic(one) == user_topic(other)) == (one == other)


@pytest.mark.parametrize("key", ["a/b", "", ".", "k" * 254, "Ж"])
def test_no_key_is_the_digest_of_another_one(key: str) -> None:
    topic = user_topic(key)
    assert user_topic(topic.removeprefix("user.")) != topic


def test_a_topic_does_not_change_between_versions() -> None:
    digest = "973dfe463ec85785f5f95af5ba3906eedb2d931c24e69824a89ea65dba4e813b"
    assert user_topic("test@example.com") == f"user..{digest}"
