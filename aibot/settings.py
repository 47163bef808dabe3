"""Every setting of the project, read from the environment once, at start-up."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from kombu import Queue

from aibot.data_lock import port_in_use
from aibot.env import (
    env_addresses,
    env_bool,
    env_bucket,
    env_caps,
    env_choice,
    env_database,
    env_days,
    env_dsn,
    env_folder,
    env_hosts,
    env_int,
    env_keys,
    env_log_file,
    env_mail,
    env_money,
    env_origins,
    env_port,
    env_price,
    env_redis_url,
    env_secret,
    env_secrets,
    env_servers,
    env_text,
    env_time_zone,
    env_url,
    is_command,
    passwords_of,
    read_env_file,
    refuse_renamed_variables,
)
from providers.registry import BUILT_IN, PROVIDERS, register_compatible
from providers.types import Access, access_with

# --- Environment ------------------------------------------------------------------------------

BASE_DIR = Path(__file__).resolve().parent.parent
# Variables that are set already win over the file. ENV_FILE keeps tests away from a developer's own .env.
read_env_file(BASE_DIR / ".env")
refuse_renamed_variables()
DATA_DIR = env_folder("DATA_DIR", BASE_DIR / "var")
if not is_command("collectstatic"):  # whose files a proxy may serve
    os.umask(0o077)  # what is written to DATA_DIR is nobody else's

# --- Core -------------------------------------------------------------------------------------

DEBUG = env_bool("DEBUG", default=False)
SECRET_KEY = env_secret("SECRET_KEY")
if not SECRET_KEY:
    raise ImproperlyConfigured(
        "SECRET_KEY is not set. `make run` makes one for trying it out; in production put 50 random characters "
        "into the environment or .env."
    )
# Keys that signed earlier; what they signed stays valid until they are removed from here.
SECRET_KEY_FALLBACKS = env_secrets("SECRET_KEY_FALLBACKS")
PORT = env_port("PORT", 8000)  # of `manage.py run`, on this machine
ALLOWED_HOSTS = env_hosts("ALLOWED_HOSTS") or (["localhost", "127.0.0.1", "[::1]"] if DEBUG else [])
CSRF_TRUSTED_ORIGINS = env_origins("CSRF_TRUSTED_ORIGINS")
ROOT_URLCONF = "aibot.urls"
WSGI_APPLICATION = "aibot.wsgi.application"
LANGUAGE_CODE = "en"
TIME_ZONE = env_time_zone("TIME_ZONE")  # of the admin's pages; days of caps and names of backups stay UTC
USE_TZ = True
USE_I18N = True
FORMAT_MODULE_PATH = ["aibot.formats"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# The webhook's own limit is the same; a larger body is refused before it is read.
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024

# --- Apps -------------------------------------------------------------------------------------

INSTALLED_APPS = [
    # Before the admin, whose templates it replaces. Basic: the admin's site is our own.
    "unfold.apps.BasicAppConfig",
    "aibot.apps.OperatorSiteConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "rest_framework",
    "rest_framework.authtoken",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "axes",
    "django_otp",
    "django_otp.plugins.otp_static",
    "django_otp.plugins.otp_totp",
    "simple_history",
    "aibot",
    "providers",
    "requests_app",
    "telegram_bot",
]
MIDDLEWARE = [
    "aibot.middleware.answer_health_checks",
    "aibot.middleware.refuse_nul",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "simple_history.middleware.HistoryRequestMiddleware",  # who makes a version
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]
SILENCED_SYSTEM_CHECKS = ["models.W040"]  # SQLite leaves out the columns that an index only includes, and works
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
WHITENOISE_USE_FINDERS = DEBUG
UNFOLD = {
    "SITE_TITLE": "AI bot",
    "SITE_HEADER": "AI bot",
    "SITE_SUBHEADER": "aibot.operator_site.subheader",
    "SITE_SYMBOL": "smart_toy",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "aibot.operator_site.favicon"}],
    "STYLES": ["aibot.operator_site.stylesheet"],
    "SITE_URL": None,  # there is no other site
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": True,
    "BORDER_RADIUS": "6px",
    "SIDEBAR": {"navigation": "aibot.navigation.navigation", "show_search": True, "command_search": True},
    "COMMAND": {"search_callback": "aibot.operator_site.found"},
    "LOGIN": {"form": "aibot.sign_in.SignInForm"},
    "ACCOUNT": {"navigation": "aibot.navigation.account_navigation"},
}
# Outputs and users' images: in a bucket where one is named, else in the local folder.
S3_BUCKET = env_bucket("S3_BUCKET")
S3_OPTIONS = {
    "bucket_name": S3_BUCKET,
    "endpoint_url": env_url("S3_ENDPOINT_URL") or None,
    "region_name": env_text("S3_REGION") or None,
    "access_key": env_text("S3_ACCESS_KEY_ID") or None,  # without keys the client uses the machine's own role
    "secret_key": env_secret("S3_SECRET_ACCESS_KEY") or None,
}
if bool(S3_OPTIONS["access_key"]) != bool(S3_OPTIONS["secret_key"]):
    raise ImproperlyConfigured("Set both S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY, or neither.")
STORAGES = {
    "default": {"BACKEND": "aibot.s3_storage.S3MediaStorage", "OPTIONS": S3_OPTIONS}
    if S3_BUCKET
    else {"BACKEND": "aibot.file_storage.AtomicFileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
MEDIA_IS_SHARED = env_bool("MEDIA_IS_SHARED", default=False)  # DATA_DIR is one folder for all machines
MEDIA_ROOT = DATA_DIR / "media"
MEDIA_URL = "media/"

# --- Database ---------------------------------------------------------------------------------

DATABASES = {"default": env_database("DATABASE_URL", DATA_DIR / "db.sqlite3")}
ENGINE = DATABASES["default"]["ENGINE"]
URL_OPTIONS = DATABASES["default"].get("OPTIONS", {})  # such as sslmode
if ENGINE == "django.db.backends.sqlite3":
    # IMMEDIATE takes the write lock at BEGIN, so that two writers wait for each other instead of failing midway.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
    }
else:
    # Every wait has an end: for a lock that a frozen host holds, for a statement, for a peer that is gone.
    DATABASE_TIMEOUTS_MS = {
        "lock_timeout": 3000,
        "statement_timeout": 20000,
        "idle_in_transaction_session_timeout": 20000,
    }
    if is_command("migrate", "recount", "loaddata", "flush", "generate_history"):
        DATABASE_TIMEOUTS_MS = {}  # they take what they need
    DATABASES["default"]["OPTIONS"] = {
        # Hundreds of threads may wait for providers at once; they return their connection meanwhile and share these. A
        # webhook that gets no connection within the timeout answers 503, and Telegram repeats the update. Connections
        # live for minutes, so that none survives a fail-over for long.
        "pool": {
            "min_size": 1,
            "max_size": env_int("DATABASE_POOL_SIZE", 10, minimum=1),
            "timeout": 5,
            "max_lifetime": 300,
            "max_idle": 60,
        },
        "options": " ".join(
            [*(f"-c {name}={value}" for name, value in DATABASE_TIMEOUTS_MS.items()), URL_OPTIONS.pop("options", "")]
        ).strip(),
        "connect_timeout": 5,
        "keepalives": 1,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20000,  # milliseconds
    }
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DATABASES["default"]["OPTIONS"] |= URL_OPTIONS

# --- Queue ------------------------------------------------------------------------------------

REDIS_URL = env_redis_url("REDIS_URL")
CELERY_TIMEZONE = "UTC"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
# The database is the queue. A message only wakes a worker: it carries an id and may be lost, since the workers look
# into the database too. So messages are acknowledged early, and publishing fails fast, which keeps no caller waiting.
CELERY_TASK_ACKS_LATE = False
CELERY_TASK_PUBLISH_RETRY = False
# A worker without -Q serves all of these; the last one holds the messages of the version before.
CELERY_TASK_QUEUES = [Queue(name, routing_key=name) for name in ("chat", "text", "media", "celery")]
CELERY_WORKER_CONSUMER = "aibot.worker:PersistentConsumer"
CELERY_WORKER_POOL = "threads"
# Threads, which mostly wait for providers. With SQLite, which has one writer at a time, more would wait for each other.
CELERY_WORKER_CONCURRENCY = env_int("WORKER_CONCURRENCY", 200 if REDIS_URL else 16, minimum=1)
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_ENABLE_PREFETCH_COUNT_REDUCTION = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True  # those acknowledged late: none
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # for ever: the worker has work without a broker, too
# What a worker looks for in the database by itself, and how often.
DUE_WORK = [
    "requests_app.due_work.request_sources",
    "telegram_bot.due_work.telegram_sources",
    "aibot.alerts.watch.alert_sources",
]
LOOK_SECONDS = env_int("LOOK_SECONDS", 2, minimum=1)
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any]
if REDIS_URL:
    CELERY_BROKER_URL = REDIS_URL
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        # A wake-up that a dying worker had fetched is lost, which does no harm. With this emulation each message would
        # be written to Redis once more, which a full one refuses.
        "ack_emulation": False,
        # Without these, publishing to a Redis that hangs never returns.
        "socket_timeout": 2,
        "socket_connect_timeout": 2,
        "socket_keepalive": True,
        "health_check_interval": 10,
    }
else:
    QUEUE_DIR = DATA_DIR / "queue"
    QUEUE_DIR.mkdir(parents=True, exist_ok=True)
    CELERY_BROKER_URL = "folder://localhost"  # aibot/broker.py
    CELERY_BROKER_TRANSPORT_OPTIONS = {"folder": str(QUEUE_DIR), "polling_interval": 0.05}

# --- Security ---------------------------------------------------------------------------------

HTTPS = env_bool("HTTPS", default=not DEBUG)
SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_AGE = 8 * 60 * 60
# Only the operator's own proxy may state that a request came over HTTPS, and from where.
BEHIND_PROXY = env_bool("BEHIND_PROXY", default=False)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_PROXY else None
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
# A user name is locked for an address from which it was tried in vain this often; elsewhere its owner still logs in.
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_CLIENT_IP_CALLABLE = "aibot.client_address.client_address"
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_DISABLE_ACCESS_LOG = True
AXES_LOCKOUT_TEMPLATE = "admin/locked.html"
AXES_ENABLE_ADMIN = False  # `manage.py axes_list_attempts` shows them
AXES_VERBOSE = False
OTP_TOTP_ISSUER = UNFOLD["SITE_TITLE"]  # what authenticator apps call it
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
REST_FRAMEWORK = {
    # The first one determines the refusal: 401 with WWW-Authenticate: Token, rather than 403.
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "aibot.api_tokens.ApiTokenAuthentication",
        "aibot.api_tokens.BearerAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["providers.statistics.permissions.StaffOrToken"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    # What a view names as `throttle_scope`: pages, and files of many rows.
    "DEFAULT_THROTTLE_CLASSES": ["aibot.api_throttles.NamedRate"],
    "DEFAULT_THROTTLE_RATES": {"records": "240/minute", "exports": "6/minute"},
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "AI bot",
    "DESCRIPTION": "Statistics, cost comparison and the recommended provider; what a period has brought and cost; "
    "requests, attempts, routes, AI models and accounts. Read-only.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "PREPROCESSING_HOOKS": ["aibot.api_views.without_twins"],
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums", "aibot.api_views.any_of"],
    "SERVE_PERMISSIONS": ["aibot.api_tokens.MayReadSomething"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

# --- Logging ----------------------------------------------------------------------------------

LOG_FORMAT = env_choice("LOG_FORMAT", ["line", "json"])
LOG_FILE = env_log_file("LOG_FILE")  # beside the console; opened again where it was renamed, as by deploy/logrotate
# What a stranger sends, such as a wrong Host header, is a line and not a traceback.
LOG_HANDLER = {"formatter": LOG_FORMAT, "filters": ["refusals"]}
HANDLERS: dict[str, Any] = {"console": {"class": "logging.StreamHandler", **LOG_HANDLER}}
if LOG_FILE:
    HANDLERS["file"] = {
        "class": "aibot.log_files.ReopenedLog",
        "filename": LOG_FILE,
        "delay": True,
        **LOG_HANDLER,
    }
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "aibot.redaction.RedactingFormatter",
            "format": "%(asctime)s %(levelname)-7s %(name)s: %(message)s",
            "datefmt": "%H:%M:%S" if DEBUG else "%Y-%m-%dT%H:%M:%S%z",
        },
        "json": {"()": "aibot.redaction.JsonFormatter"},
    },
    "filters": {"refusals": {"()": "aibot.log_files.RefusalsInBrief"}},
    "handlers": HANDLERS,
    "root": {"handlers": [*HANDLERS], "level": "INFO"},
    "loggers": {
        # Named without handlers, which removes Django's own: one repeats every line without redaction where DEBUG is
        # on, and one would send reports by mail.
        "django": {"level": "INFO"},
        "django.server": {"handlers": [*HANDLERS], "level": "INFO", "propagate": False},
        # urllib3 logs each path at DEBUG, and paths of the Bot API contain the token. Its warnings quote headers that
        # it cannot parse, and these can repeat a prompt.
        "urllib3": {"level": "ERROR"},
        "axes": {"level": "WARNING"},
        # python-telegram-bot logs every message that it sends at DEBUG.
        "telegram": {"level": "INFO"},
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
    },
}

SENTRY_DSN = env_dsn("SENTRY_DSN")
# OpenTelemetry's own variables say the rest, such as OTEL_EXPORTER_OTLP_HEADERS.
OTEL_EXPORTER_OTLP_ENDPOINT = env_url("OTEL_EXPORTER_OTLP_ENDPOINT")

# Django's error reports contain the settings and the exception's message.
DEFAULT_EXCEPTION_REPORTER = "aibot.redaction.RedactingReporter"
DEFAULT_EXCEPTION_REPORTER_FILTER = "aibot.redaction.ReportFilter"

# --- Providers --------------------------------------------------------------------------------

# Base URLs come from the environment only, never from the admin: whoever changes one receives the key.
OPENAI_COMPATIBLE = env_servers("OPENAI_COMPATIBLE", BUILT_IN)
for server, address in OPENAI_COMPATIBLE.items():
    register_compatible(server, address)
SANDBOX_URL = env_url("SANDBOX_URL")
PROVIDER_ACCESS = {
    slug: access_with(env_keys(spec.key_variable), env_url(spec.base_url_variable, spec.base_url))
    for slug, spec in PROVIDERS.items()
}
# Keys that may read what an account was charged, where those that make calls may not. They may do more besides.
ADMIN_ACCESS = {
    slug: Access(
        env_secret(spec.account.admin_variable),
        env_url(spec.account.admin_base_url_variable, spec.account.admin_base_url),
    )
    for slug, spec in BUILT_IN.items()
    if spec.account.admin_path
}
# Caps of what a day's calls may cost (UTC), in USD. Routes have their own, in the admin.
DAILY_SPEND_CAP_USD = env_money("DAILY_SPEND_CAP_USD")
PROVIDER_DAILY_CAPS_USD = env_caps("PROVIDER_DAILY_CAPS_USD", PROVIDERS)
REQUIRE_PRICES = env_bool("REQUIRE_PRICES", default=False)  # routes whose calls nobody can price are not asked
# The sandbox answers only where no key at all is set: invented answers must never mix with paid ones.
SANDBOX_ACTIVE = bool(SANDBOX_URL) and not any(
    access.key for access in (*PROVIDER_ACCESS.values(), *ADMIN_ACCESS.values())
)
if SANDBOX_ACTIVE:
    PROVIDER_ACCESS = {
        slug: Access(
            key=f"sandbox-key-{slug}",
            base_url=env_url(spec.base_url_variable, f"{SANDBOX_URL}/{slug}{spec.base_path}"),
        )
        for slug, spec in BUILT_IN.items()
    }
    ADMIN_ACCESS = {
        slug: Access(
            key=f"sandbox-key-{slug}",
            base_url=f"{SANDBOX_URL}/{slug}{urlsplit(BUILT_IN[slug].account.admin_base_url).path}",
        )
        for slug in ADMIN_ACCESS
    }

# Where providers call us when a job is over; without the address or a provider's secret its jobs are only polled.
PUBLIC_URL = env_url("PUBLIC_URL")
PROVIDER_CALLBACK_SECRETS = {
    slug: env_secret(spec.callback.secret_variable) for slug, spec in PROVIDERS.items() if spec.callback
}
if SANDBOX_ACTIVE:
    # The sandbox calls too, on this machine. Its secret protects nothing but its own inventions.
    PUBLIC_URL = PUBLIC_URL or f"http://127.0.0.1:{env_port('PORT', port_in_use(DATA_DIR) or PORT)}"
    PROVIDER_CALLBACK_SECRETS = {
        slug: secret or "whsec_c2FuZGJveC13ZWJob29rLXNlY3JldA==" for slug, secret in PROVIDER_CALLBACK_SECRETS.items()
    }

# --- Requests and credits ---------------------------------------------------------------------

# The time from accepting a request to its answer, or to giving the credits back, by category.
DEADLINE_SECONDS = {"TEXT": 90, "IMAGE": 240, "VIDEO": 1800, "AUDIO": 240}
# A worker renews its lease three times within this; when it dies, another takes over once the lease has expired.
LEASE_SECONDS = env_int("LEASE_SECONDS", 15, minimum=1)
SWEEP_SECONDS = env_int("SWEEP_SECONDS", 3, minimum=1)
MAX_PROMPT_CHARACTERS = env_int("MAX_PROMPT_CHARACTERS", 32_000, minimum=1)
MAX_AUDIO_SECONDS = env_int("MAX_AUDIO_SECONDS", 1_200, minimum=1)
MAX_OPEN_REQUESTS = env_int("MAX_OPEN_REQUESTS", 3, minimum=1)
# What a credit is sold for, in USD; 0: nothing is sold. The AI models as shipped earn their cost with this price.
CREDIT_PRICE_USD = env_price("CREDIT_PRICE_USD", "0.01")
WELCOME_CREDITS = env_int("WELCOME_CREDITS", 20)
MAX_TOP_UP_CREDITS = env_int("MAX_TOP_UP_CREDITS", 10_000, minimum=1)
MAINTENANCE = env_bool("MAINTENANCE", default=False)  # as `manage.py maintenance on`, for as long as it is set
SYSTEM_PROMPT = env_text(
    "SYSTEM_PROMPT", "You are a helpful assistant in a Telegram chat. Answer in the language of the question."
)
# After so many days what users wrote and received is erased, and whole rows are deleted; 0: never.
RETENTION_CONTENT_DAYS = env_days("RETENTION_CONTENT_DAYS")
RETENTION_ROWS_DAYS = env_days("RETENTION_ROWS_DAYS")
DELIVERY_BACKEND = env_text("DELIVERY_BACKEND", "telegram_bot.delivery.backend.TelegramDeliveryBackend")
# What `manage.py sweep` calls in each round, in this order.
SWEEPS = [
    "requests_app.services.sweeper.sweep_requests",
    "telegram_bot.sweeper.sweep_telegram",
    "providers.statistics.rollups.fold_attempts",
    "requests_app.analytics.rollups.fold_requests",
    "requests_app.services.leftovers.sweep_leftovers",
    "providers.routes.testing.sweep_route_tests",
    "providers.reconciliation.services.sweep_accounts",
    "requests_app.services.retention.sweep_retention",
    "aibot.alerts.watch.sweep_alerts",
]

# --- Alerts -----------------------------------------------------------------------------------

# To the operator's chat in any case, once it is claimed; by e-mail where both of these are set.
ALERT_EMAIL = env_addresses("ALERT_EMAIL")
MAIL = env_mail("EMAIL_URL")
if bool(ALERT_EMAIL) != bool(MAIL.host):
    raise ImproperlyConfigured("Set both ALERT_EMAIL and EMAIL_URL, or neither.")
EMAIL_HOST, EMAIL_PORT = MAIL.host, MAIL.port
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = MAIL.user, MAIL.password
EMAIL_USE_TLS, EMAIL_USE_SSL = MAIL.use_starttls, MAIL.use_tls
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = next(iter([*env_addresses("EMAIL_FROM"), *ALERT_EMAIL]), "aibot@localhost")

# --- Telegram ---------------------------------------------------------------------------------

TELEGRAM_BOT_TOKEN = env_secret("TELEGRAM_BOT_TOKEN")
TELEGRAM_WEBHOOK_SECRET = env_secret("TELEGRAM_WEBHOOK_SECRET")
TELEGRAM_WEBHOOK_URL = env_url("TELEGRAM_WEBHOOK_URL", keeps_slash=True)
TELEGRAM_API_BASE_URL = env_url("TELEGRAM_API_BASE_URL", "https://api.telegram.org")

# Everything that RedactingFormatter redacts, longest first so that no secret survives inside another.
SECRETS = sorted(
    {
        secret
        for secret in (
            SECRET_KEY,
            *SECRET_KEY_FALLBACKS,
            REDIS_URL,
            *passwords_of(REDIS_URL),
            *passwords_of(env_secret("DATABASE_URL")),
            *passwords_of(env_secret("EMAIL_URL")),
            DATABASES["default"].get("PASSWORD", ""),
            TELEGRAM_BOT_TOKEN,
            TELEGRAM_WEBHOOK_SECRET,
            *PROVIDER_CALLBACK_SECRETS.values(),
            S3_OPTIONS["secret_key"] or "",
            SENTRY_DSN,
            *(each.key for access in PROVIDER_ACCESS.values() for each in access.each()),
            *(access.key for access in ADMIN_ACCESS.values()),
        )
        if len(str(secret)) >= 6
    },
    key=len,
    reverse=True,
)
