"""Shipped routes reach every database once: a new one, that of the release before, and one that runs sync_providers.

The migrations run on SQLite files of their own, whatever database the other tests use.
"""

from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from providers.models import ProviderConfig, SeededRoute
from providers.shipped import SHIPPED_ROUTES, ShippedRoute, shipped_route, shipped_routes
from providers.types import Category

FIRST_RELEASE = "0009_kie"  # the last migration of 0.1.0
SQUASHED = "0001_squashed_0009_kie"
NEW_ROUTES = [route for route in shipped_routes() if route.since != "0.1.0"]


@pytest.fixture
def new_database(tmp_path: Path, django_db_blocker: Any) -> Iterator[Callable[[str], BaseDatabaseWrapper]]:
    """Make an empty database in a file."""
    aliases: list[str] = []

    def make(alias: str) -> BaseDatabaseWrapper:
        connections.settings[alias] = {
            **connections.settings["default"],
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(tmp_path / f"{alias}.sqlite3"),
            "OPTIONS": {},
        }
        aliases.append(alias)
        return connections[alias]

    with django_db_blocker.unblock():
        yield make
        for alias in aliases:
            connections[alias].close()
            del connections[alias]
            del connections.settings[alias]


def migrate(connection: BaseDatabaseWrapper) -> None:
    """Bring the providers' tables to the newest migration, as `manage.py migrate` does."""
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes("providers"))


def migrate_as_released(connection: BaseDatabaseWrapper, name: str) -> None:
    """Bring the providers' tables to an original migration, as a release did that had not squashed them."""
    executor = MigrationExecutor(connection)
    executor.loader = MigrationLoader(connection, replace_migrations=False)
    executor.migrate([("providers", name)])
    MigrationRecorder(connection).record_unapplied("providers", SQUASHED)


def rows_of(connection: BaseDatabaseWrapper, table: str = "providers_providerconfig") -> dict[Any, dict[str, Any]]:
    """Return all rows by their ids, with every column that the table has."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table}")  # noqa: S608 — a name of our own
        names = [column[0] for column in cursor.description]
        return {row[names.index("id")]: dict(zip(names, row, strict=True)) for row in cursor.fetchall()}


def assert_kept(before: dict[Any, dict[str, Any]], after: dict[Any, dict[str, Any]]) -> None:
    """Every row is there, with what its columns had; new columns may stand beside them."""
    assert {key: {name: after[key][name] for name in row} for key, row in before.items()} == before


def schema_of(connection: BaseDatabaseWrapper) -> dict[str, list[str]]:
    """Return what the providers' tables are made of: columns, constraints and indexes, whatever their order."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, sql FROM sqlite_master WHERE tbl_name LIKE 'providers_%' AND sql IS NOT NULL")
        return {name: sorted(_definitions(sql)) for name, sql in cursor.fetchall()}


def _definitions(sql: str) -> Iterator[str]:
    """Yield the parts of a CREATE statement, which are separated by the commas outside of inner parentheses."""
    start, depth = sql.index("(") + 1, 0
    yield sql[: start - 1].strip()
    for position, character in enumerate(sql[start:], start):
        if depth == 0 and character in ",)":
            yield sql[start:position].strip()
            start = position + 1
        depth += (character == "(") - (character == ")")
    yield sql[start:].strip()


def keys_of(connection: BaseDatabaseWrapper) -> set[tuple[str, str]]:
    return {(row["category"], row["provider"]) for row in rows_of(connection).values()}


# --- A new database ---


def test_migrate_alone_brings_all_shipped_routes(new_database: Callable[[str], BaseDatabaseWrapper]) -> None:
    connection = new_database("fresh")

    migrate(connection)

    found = ProviderConfig.objects.using("fresh")
    assert found.count() == len(SHIPPED_ROUTES)
    for route in SHIPPED_ROUTES:
        fields = route.as_fields()
        row = found.get(category=route.category, name=route.name)
        assert {name: getattr(row, name) for name in fields} == fields
    assert SeededRoute.objects.using("fresh").count() == len(SHIPPED_ROUTES)


def test_the_squashed_migration_makes_the_same_tables_as_the_original_ones(
    new_database: Callable[[str], BaseDatabaseWrapper],
) -> None:
    squashed, original = new_database("squashed"), new_database("original")
    migrate(squashed)
    migrate_as_released(original, FIRST_RELEASE)
    migrate(original)

    assert schema_of(squashed) == schema_of(original)
    assert keys_of(squashed) == keys_of(original)


# --- The database of the release before ---


class TestAnOlderDatabase:
    @pytest.fixture
    def older(self, new_database: Callable[[str], BaseDatabaseWrapper]) -> BaseDatabaseWrapper:
        """A database of the first release in which an operator has worked."""
        connection = new_database("older")
        migrate_as_released(connection, FIRST_RELEASE)
        with connection.cursor() as cursor:
            for change in (
                "UPDATE providers_providerconfig SET list_price = 9.5, prices = '{}' WHERE provider = 'aimlapi'",
                "UPDATE providers_providerconfig SET model = 'grok-of-ours' WHERE model LIKE 'grok-4%'",
                "UPDATE providers_providerconfig SET enabled = NOT enabled WHERE category = 'IMAGE'",
                "UPDATE providers_providerconfig SET priority = 7, weight = 3 WHERE provider = 'elevenlabs'",
                "DELETE FROM providers_providerconfig WHERE category = 'IMAGE' AND provider = 'openai'",
                "INSERT INTO providers_providerhealth"
                " (category, provider, failures, level, resting_until, reason, updated_at)"
                " VALUES ('TEXT', 'openai', 3, 2, '2026-11-26 12:00:00', 'HTTP 503', '2026-11-26 11:59:00')",
            ):
                cursor.execute(change)
        return connection

    def test_every_row_is_kept_as_the_operator_left_it(self, older: BaseDatabaseWrapper) -> None:
        before, health = rows_of(older), rows_of(older, "providers_providerhealth")

        migrate(older)

        assert_kept(before, rows_of(older))
        assert_kept(health, rows_of(older, "providers_providerhealth"))

    def test_a_deleted_route_stays_deleted_and_a_new_one_is_added_disabled(self, older: BaseDatabaseWrapper) -> None:
        migrate(older)

        assert ("IMAGE", "openai") not in keys_of(older)
        for route in NEW_ROUTES:
            row = ProviderConfig.objects.using("older").get(category=route.category, provider=route.provider)
            assert (row.model, row.enabled) == (route.model, False)
        seeded = set(SeededRoute.objects.using("older").values_list("category", "name"))
        assert seeded == {(route.category, route.name) for route in SHIPPED_ROUTES}

    def test_a_version_between_two_migrations_of_the_first_release_is_brought_up_to_date(
        self, new_database: Callable[[str], BaseDatabaseWrapper]
    ) -> None:
        connection, fresh = new_database("between"), new_database("fresh")
        migrate_as_released(connection, "0006_open_attempts")
        migrate(connection)
        migrate(fresh)

        assert schema_of(connection) == schema_of(fresh)
        assert keys_of(connection) == keys_of(fresh)

    def test_code_of_the_release_before_still_works_on_the_new_tables(self, older: BaseDatabaseWrapper) -> None:
        migrate(older)

        old_models = MigrationLoader(older, replace_migrations=False).project_state([("providers", FIRST_RELEASE)]).apps
        health = old_models.get_model("providers", "ProviderHealth").objects.using("older")
        assert health.get(provider="openai").level == 2
        health.create(category="TEXT", provider="xai", level=1, resting_until="2026-11-26T12:00:00Z")
        route = old_models.get_model("providers", "ProviderConfig").objects.using("older").get(model="grok-of-ours")
        route.save()
        attempts = old_models.get_model("providers", "Attempt").objects.using("older")
        attempts.create(caller_key="c", number=1, category="TEXT", provider="xai", model="m", state="ABANDONED")
        assert attempts.count() == 1


# --- sync_providers ---


@pytest.mark.django_db
class TestSync:
    @pytest.fixture(autouse=True)
    def _seeded(self) -> None:
        """Every shipped route is there, whatever the tests before have left."""
        sync()

    def test_it_adds_nothing_twice(self) -> None:
        before = list(ProviderConfig.objects.order_by("id").values())

        assert sync() == ["Nothing new: every shipped route has been here before."]
        assert list(ProviderConfig.objects.order_by("id").values()) == before

    def test_it_adds_a_route_that_the_database_has_never_seen(self) -> None:
        route = mistral()
        forget(route)

        lines = sync()

        assert lines == [f"Added TEXT mistral ({route.model}), disabled: switch it on in the admin."]
        row = ProviderConfig.objects.get(category="TEXT", provider="mistral")
        fields = route.as_fields()
        assert {name: getattr(row, name) for name in fields} == fields

    def test_it_keeps_what_an_operator_has_changed_and_adds_nothing_that_was_deleted(self) -> None:
        routes = ProviderConfig.objects.filter(category="TEXT")
        routes.filter(provider="xai").update(model="grok-of-ours", list_price="9.5")
        routes.filter(provider="openai").delete()

        assert sync() == ["Nothing new: every shipped route has been here before."]
        assert routes.get(provider="xai").model == "grok-of-ours"
        assert not routes.filter(provider="openai").exists()

    def test_a_route_that_an_operator_has_added_first_stays_as_it_is(self) -> None:
        route = mistral()
        forget(route)
        ProviderConfig.objects.create(category="TEXT", provider="mistral", model="ours", enabled=True)

        assert sync() == ["Nothing new: every shipped route has been here before."]
        row = ProviderConfig.objects.get(category="TEXT", provider="mistral")
        assert (row.model, row.enabled) == ("ours", True)
        row.delete()
        assert sync() == ["Nothing new: every shipped route has been here before."]


def sync() -> list[str]:
    """Run the command and return its lines."""
    output = StringIO()
    call_command("sync_providers", stdout=output)
    return output.getvalue().splitlines()


def mistral() -> ShippedRoute:
    route = shipped_route(Category.TEXT, "mistral")
    assert route is not None
    return route


def forget(route: ShippedRoute) -> None:
    """Make a database of before the release that brought this route."""
    SeededRoute.objects.filter(category=route.category, name=route.name).delete()
    ProviderConfig.objects.filter(category=route.category, provider=route.provider).delete()
