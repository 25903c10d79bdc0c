"""The settings as another process sees them: the environment decides."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.servers import ROOT, TIMEOUT

NAMES = (
    "DEBUG SECRET_KEY ALLOWED_HOSTS DATABASES CHANNEL_LAYERS SESSION_COOKIE_SECURE "
    "CACHES CSRF_COOKIE_SECURE SECURE_SSL_REDIRECT SECURE_HSTS_SECONDS CSRF_TRUSTED_ORIGINS"
)
PROGRAM = f"""
import json
from config import settings
print(json.dumps({{name: getattr(settings, name) for name in "{NAMES}".split()}}, default=str))
"""


def read_settings(**environment: str) -> Any:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env={**kept, "PYTHONPATH": str(ROOT / "src"), **environment},
        check=True,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    return json.loads(done.stdout)


def test_a_fresh_clone_runs_for_this_machine_alone() -> None:
    found = read_settings()
    assert found["DEBUG"] is True
    assert len(found["SECRET_KEY"]) >= 50
    assert found["ALLOWED_HOSTS"] == ["localhost", "127.0.0.1", "[::1]"]
    assert found["SESSION_COOKIE_SECURE"] is False
    database = found["DATABASES"]["default"]
    assert database["NAME"] == str(ROOT / "db.sqlite3")
    assert database["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
    assert "synchronous=FULL" in database["OPTIONS"]["init_command"]
    layer = found["CHANNEL_LAYERS"]["default"]
    assert layer == {"BACKEND": "channels.layers.InMemoryChannelLayer"}


def test_a_named_secret_means_production() -> None:
    found = read_settings(SECRET_KEY="x" * 50, ALLOWED_HOSTS="chat.example.com")
    assert found["DEBUG"] is False
    assert found["ALLOWED_HOSTS"] == ["chat.example.com"]
    for name in ("SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_SSL_REDIRECT"):
        assert found[name] is True
    assert found["SECURE_HSTS_SECONDS"] > 0


def test_https_can_be_somebody_elses_business() -> None:
    found = read_settings(SECRET_KEY="x" * 50, HTTPS="0", CSRF_TRUSTED_ORIGINS="http://a.example")
    assert found["SECURE_SSL_REDIRECT"] is False
    assert found["SECURE_HSTS_SECONDS"] == 0
    assert found["CSRF_TRUSTED_ORIGINS"] == ["http://a.example"]


def test_redis_and_postgresql_come_by_url() -> None:
    found = read_settings(
        SECRET_KEY="x" * 50,
        DATABASE_URL="postgresql://me:secret@db.example:5433/chat",
        REDIS_URL="redis://redis.example:6380/2",
    )
    database = found["DATABASES"]["default"]
    assert database["ENGINE"] == "django.db.backends.postgresql"
    assert (database["HOST"], database["PORT"], database["NAME"]) == ("db.example", 5433, "chat")
    assert "pool" in database["OPTIONS"]
    [host] = found["CHANNEL_LAYERS"]["default"]["CONFIG"]["hosts"]
    assert host["address"] == "redis://redis.example:6380/2"
    assert host["socket_timeout"] is None
    cache = found["CACHES"]["default"]
    assert cache["BACKEND"].endswith("RedisCache")
    assert cache["LOCATION"] == "redis://redis.example:6380/2"


def test_production_without_a_secret_does_not_start() -> None:
    environment = {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DEBUG": "0",
        "SECRET_KEY": "",
        "PYTHONPATH": str(ROOT / "src"),
    }
    with pytest.raises(subprocess.CalledProcessError) as caught:
        subprocess.run(
            [sys.executable, "manage.py", "check"],
            cwd=ROOT,
            env={**os.environ, **environment},
            check=True,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
    assert "SECRET_KEY" in caught.value.stderr
