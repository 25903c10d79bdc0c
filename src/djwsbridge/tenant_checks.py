"""System checks of projects that serve several tenants in one process, which this library does not."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as Caution

from djwsbridge.documentation import see
from djwsbridge.sources import identifiers, tree_of

__all__ = ["check_tenants"]

# The first parts of dotted paths: packages that give each request a tenant of its own.
_PACKAGES = frozenset(
    {
        "db_multitenant",
        "django_multitenant",
        "django_pgschemas",
        "django_tenants",
        "tenant_schemas",
        "tenant_users",
    }
)
_HINT = f"Start one server process per tenant. {see('How to serve several tenants')}"
# What makes a place where code keeps what belongs to the current request, and nowhere else.
_HOLDERS = frozenset({"ContextVar", "Local", "local"})
_HOST = re.compile(r"get_host|HTTP_HOST|.*subdomain.*", re.IGNORECASE)
_TENANT = re.compile(r"tenant", re.IGNORECASE)
# Not looked into: none of these chooses a database.
_FOREIGN = sys.stdlib_module_names | {
    "asgiref",
    "channels",
    "django",
    "djwsbridge",
    "rest_framework",
}


def check_tenants() -> Iterator[CheckMessage]:
    """Complain of what gives each request a tenant, and of what looks like it."""
    known = sorted(path for path in _dotted_paths() if path.partition(".")[0] in _PACKAGES)
    if known:
        yield Error(
            f"{known[0]} gives each request a tenant of its own, and one process of djwsbridge serves one tenant.",
            hint=(
                f"User 1 of one tenant would get what belongs to user 1 of another. {_HINT} "
                "Silence this in a project that does."
            ),
            id="djwsbridge.E022",
        )
        return
    for path, reason in _suspects():
        yield Caution(
            f"{path} {reason}: does it choose the tenant of a request?",
            hint=f"If so, user 1 of two tenants is one person here. {_HINT} If not, silence this.",
            id="djwsbridge.W022",
        )


def _dotted_paths() -> Iterator[str]:
    yield from _names(django_settings.INSTALLED_APPS)
    yield from _names(django_settings.MIDDLEWARE)
    yield from _names(django_settings.DATABASE_ROUTERS)
    for database in django_settings.DATABASES.values():
        yield str(database.get("ENGINE", ""))


def _suspects() -> Iterator[tuple[str, str]]:
    """Return routers and middleware of the project that seem to know the tenant of a request, and why."""
    for path in _names(django_settings.DATABASE_ROUTERS):
        module, _, name = path.rpartition(".")
        tree = _tree(module)
        if _TENANT.search(path) or any(map(_TENANT.search, identifiers(tree))):
            yield path, "speaks of tenants"
        elif _reads_holder(module, _words_of_writes(tree, name), set()):
            yield path, "reads what belongs to the current request"
    for path in _names(django_settings.MIDDLEWARE):
        tree = _tree(path.rpartition(".")[0])
        if _TENANT.search(path):
            yield path, "speaks of tenants"
        elif _holders(tree) and _reads_host(tree):
            yield path, "keeps something for the current request, and reads its host"


def _names(paths: Iterable[object]) -> Iterator[str]:
    """Return the dotted paths: a router may also be an object."""
    for path in paths:
        yield (
            path if isinstance(path, str) else f"{type(path).__module__}.{type(path).__qualname__}"
        )


def _tree(module: str) -> ast.Module:
    """Return the syntax tree of a module of the project; Django's own and the like are known."""
    return tree_of("" if module.partition(".")[0] in _FOREIGN else module)


def _words_of_writes(tree: ast.Module, name: str) -> set[str]:
    """Return the identifiers in a router's `db_for_write`.

    Not those of `db_for_read`: a router that sends a user who has just written to the primary keeps that by request,
    too, and has one database for writes.
    """
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            own = [one for one in node.body if "db_for_write" in _bound(one)]
            if own:
                return set().union(*map(_used, own))
            bases = set().union(*map(identifiers, node.bases))
            return bases.union(*(_words_of_writes(tree, base) for base in bases - {name}))
    return set()


def _reads_holder(module: str, words: set[str], seen: set[str]) -> bool:
    """Say whether code of a module that uses these identifiers gets at a holder, there or where it is imported from."""
    if not words or module in seen:
        return False
    seen.add(module)
    tree = _tree(module)
    made = [node for node in ast.walk(tree) if _bound(node)]
    while more := set().union(*(_used(node) for node in made if _bound(node) & words)) - words:
        words = words | more
    return bool(_holders(tree) & words) or any(
        _reads_holder(source, wanted, seen) for source, wanted in _imported(tree, module, words)
    )


def _imported(tree: ast.Module, module: str, words: set[str]) -> Iterator[tuple[str, set[str]]]:
    """Return the modules that these identifiers come from, and which of their identifiers are used."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                if (one.asname or one.name.partition(".")[0]) in words:
                    yield one.name, words
        elif isinstance(node, ast.ImportFrom):
            package = ".".join(module.split(".")[: -node.level]) if node.level else ""
            source = ".".join(filter(None, [package, node.module]))
            for one in node.names:
                if (one.asname or one.name) in words:
                    yield source, {one.name}
                    yield f"{source}.{one.name}", words  # perhaps a module


def _bound(node: ast.AST) -> set[str]:
    """Return the names that a function or an assignment gives to something."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    names = [getattr(one, "attr", getattr(one, "id", None)) for one in targets]
    return {one for one in names if isinstance(one, str)}


def _used(node: ast.AST) -> set[str]:
    """Return the identifiers in what `_bound` gives a name to."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return set().union(*map(identifiers, node.body))
    return identifiers(getattr(node, "value", None) or node)


def _holders(tree: ast.Module) -> set[str]:
    """Return the names of context variables, of thread locals, and of classes of these."""
    makers = set(_HOLDERS)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and any(_last(base) in makers for base in node.bases):
            makers.add(node.name)
    found = makers - _HOLDERS
    for node in ast.walk(tree):
        value = getattr(node, "value", None)
        if isinstance(value, ast.Call) and _last(value.func) in makers:
            found |= _bound(node)
    return found


def _last(node: ast.AST) -> str | None:
    """Return `local` for both `threading.local` and `local`."""
    return getattr(node, "attr", getattr(node, "id", None))


def _reads_host(tree: ast.Module) -> bool:
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    words = {*identifiers(tree), *(one for one in texts if isinstance(one, str) and " " not in one)}
    return bool(texts & {"host", "Host", b"host"}) or any(map(_HOST.fullmatch, words))
