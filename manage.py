#!/usr/bin/env python
"""Django's command line for this project."""

import os
import sys


def main() -> None:
    """Run one management command. An invalid setting, or a database that is away or not migrated, ends it in a line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aibot.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"Configuration error: {error}")
    except Exception as error:
        from aibot.database_state import explain

        what_to_do = explain(error)
        if not what_to_do:
            raise
        sys.exit(what_to_do)


if __name__ == "__main__":
    main()
