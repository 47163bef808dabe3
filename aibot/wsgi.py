"""The WSGI entry point of web servers."""

import os

from django.core.wsgi import get_wsgi_application

from aibot.data_lock import join_data_dir

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aibot.settings")

application = get_wsgi_application()
join_data_dir()
