"""An order that was dragged: groups that share the load, as few rows written as possible, never over another's."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.models import ProviderConfig
from providers.routes.order import InvalidOrder, StaleOrder, _priorities, route_order, routes_reorder
from providers.types import Category, Operation
from providers.versioning import versions_of


def keys(order: list[list[ProviderConfig]]) -> list[list[int]]:
    return [[route.pk for route in group] for group in order]


@pytest.fixture
def order(db) -> list[list[int]]:
    return keys(route_order(Category.TEXT))


def reorder(order: list[list[int]], expected: list[list[int]], **options: object) -> list[str]:
    moved = routes_reorder(
        category=Category.TEXT, operation=Operation.GENERATE, order=order, expected=expected, actor="admin:anna",
        **options,
    )  # fmt: skip
    return [each.route for each in moved]


def test_one_that_moves_to_the_end_is_the_only_one_written(order):
    first, *others = order

    moved = reorder([*others, first], order, reason="too slow")

    assert moved == ["aimlapi"]
    assert keys(route_order(Category.TEXT)) == [*others, first]
    newest = versions_of(ProviderConfig, first[0])[0]
    assert (newest.actor, newest.reason, len(newest.changes)) == ("admin:anna", "too slow", 1)


def test_a_tie_is_made_and_kept(order):
    first, second, *others = order
    reorder([[*first, *second], *others], order)
    tied = keys(route_order(Category.TEXT))
    assert [set(group) for group in tied] == [{*first, *second}, *(set(each) for each in others)]

    reorder([others[0], tied[0], *others[1:]], tied)

    assert {route.priority for route in ProviderConfig.objects.filter(pk__in=tied[0])} == {
        ProviderConfig.objects.get(pk=first[0]).priority
    }


def test_the_same_order_again_writes_nothing(order):
    assert reorder(order, order) == []


def test_another_operators_order_is_not_overwritten(order):
    ProviderConfig.objects.filter(pk=order[5][0]).update(priority=0)

    with pytest.raises(StaleOrder, match="has become: xai → aimlapi → piapi"):
        reorder(order[::-1], order)

    assert ProviderConfig.objects.get(pk=order[5][0]).priority == 0


@pytest.mark.parametrize("spoilt", ["missing", "twice", "foreign", "empty"])
def test_an_order_that_is_none_is_refused(order, spoilt):
    other = ProviderConfig.objects.filter(category="IMAGE").first().pk
    orders = {
        "missing": order[1:],
        "twice": [*order, order[0]],
        "foreign": [*order, [other]],
        "empty": [*order, []],
    }

    with pytest.raises(InvalidOrder):
        reorder(orders[spoilt], order)


def test_transcription_has_an_order_of_its_own(db):
    operations = {route.operation for group in route_order(Category.TEXT) for route in group}

    assert operations == {"generate"}
    assert len(route_order(Category.TEXT, Operation.TRANSCRIBE)) == 3


@given(st.lists(st.lists(st.sampled_from([0, 1, 2, 5, 9, 32_767]), min_size=1, max_size=3), min_size=1, max_size=8))
def test_priorities_rise_and_stay_within_the_column(groups):
    priorities = _priorities([[ProviderConfig(priority=number) for number in group] for group in groups])

    assert all(earlier < later for earlier, later in pairwise(priorities))
    assert 0 <= priorities[0] <= priorities[-1] <= 32_767
    assert len(priorities) == len(groups)
