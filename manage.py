#!/usr/bin/env python
"""Django's command line for this project."""

import logging
import os
import sys

HOLD_DATA_DIR = ("ask", "bot", "sweep")  # they work on requests; `run` holds it, too, and begins it
GO_ON = ("bot", "run", "sweep")  # the others end at a database that does not answer, and say why


def main() -> None:
    """Run one management command. What an operator can mend says so in a line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aibot.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    if not sys.argv[1:2] or sys.argv[1] not in GO_ON:
        logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    try:
        if sys.argv[1:2] and sys.argv[1] in HOLD_DATA_DIR:
            from aibot.data_lock import join_data_dir

            join_data_dir()
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"Configuration error: {error}")
    except Exception as error:
        from aibot.database_state import explain

        # While migrate runs, nothing is migrated.
        what_to_do = explain(error, is_migrating=sys.argv[1:2] == ["migrate"])
        if not what_to_do:
            raise
        reason, _, _ = str(error).partition("\n")
        sys.exit(f"{reason}\n{what_to_do}")


if __name__ == "__main__":
    main()
