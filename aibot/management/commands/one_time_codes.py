"""`manage.py one_time_codes off NAME`: for who has lost the phone and the recovery codes, and nobody else can help."""

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError

from aibot.one_time_codes import switch_off


class Command(BaseCommand):
    help = "Switch off somebody's one-time codes, so that the password alone signs in to the admin."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("what", choices=["off"])
        parser.add_argument("name", help="The user's name in the admin.")

    def handle(self, *args: Any, name: str, **options: Any) -> None:
        user = User.objects.filter(username=name).first()
        if user is None:
            raise CommandError(f"Nobody is called {name!r} here. Admin → Staff lists who there is.")
        was_on = switch_off(user)
        self.stdout.write(f"The password alone signs {name} in." if was_on else f"{name} has no one-time codes on.")
