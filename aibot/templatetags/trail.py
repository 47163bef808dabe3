"""The way to a page, for the head of the admin's pages."""

from typing import Any

from django import template

from aibot import navigation

register = template.Library()


@register.simple_tag(takes_context=True)
def trail(context: template.Context) -> list[navigation.Crumb]:
    """Return the way to the page, for its head."""
    shown: Any = context.flatten()
    return navigation.trail(shown)
