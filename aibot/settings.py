"""Every setting of the project, read from the environment once, at start-up."""

from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

from aibot.env import env_bool, env_int, env_list, env_secret, env_text, env_url, passwords_of
from providers.registry import PROVIDERS
from providers.types import Access

# --- Environment ------------------------------------------------------------------------------

BASE_DIR = Path(__file__).resolve().parent.parent
# Variables that are set already win over the file. ENV_FILE lets the tests stay clear of a developer's own.
environ.Env.read_env(env_text("ENV_FILE", str(BASE_DIR / ".env")))
DATA_DIR = Path(env_text("DATA_DIR", str(BASE_DIR / "var")))
DATA_DIR.mkdir(parents=True, exist_ok=True)

# --- Core -------------------------------------------------------------------------------------

DEBUG = env_bool("DEBUG", default=False)
SECRET_KEY = env_secret("SECRET_KEY")
if not SECRET_KEY:
    raise ImproperlyConfigured(
        "SECRET_KEY is not set. `make run` makes one for trying things out; in production put 50 random characters "
        "into the environment or .env."
    )
ALLOWED_HOSTS = env_list("ALLOWED_HOSTS") or (["localhost", "127.0.0.1", "[::1]"] if DEBUG else [])
CSRF_TRUSTED_ORIGINS = env_list("CSRF_TRUSTED_ORIGINS")
ROOT_URLCONF = "aibot.urls"
WSGI_APPLICATION = "aibot.wsgi.application"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True
FORMAT_MODULE_PATH = ["aibot.formats"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# The webhook's own limit is the same; a larger body is refused before it is read.
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024

# --- Apps -------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "django.contrib.admin",
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
    "aibot",
    "providers",
    "requests_app",
    "telegram_bot",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
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
# Outputs and users' pictures: in a bucket where one is named, else in the local folder.
S3_BUCKET = env_text("S3_BUCKET")
S3_OPTIONS = {
    "bucket_name": S3_BUCKET,
    "endpoint_url": env_url("S3_ENDPOINT_URL") or None,
    "region_name": env_text("S3_REGION") or None,
    "access_key": env_text("S3_ACCESS_KEY_ID") or None,  # without keys, the machine's own role is asked for them
    "secret_key": env_secret("S3_SECRET_ACCESS_KEY") or None,
}
STORAGES = {
    "default": {"BACKEND": "aibot.s3_storage.S3MediaStorage", "OPTIONS": S3_OPTIONS}
    if S3_BUCKET
    else {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
MEDIA_ROOT = DATA_DIR / "media"
MEDIA_URL = "media/"

# --- Database ---------------------------------------------------------------------------------

DATABASE_URL = env_secret("DATABASE_URL") or f"sqlite:///{DATA_DIR / 'db.sqlite3'}"
DATABASES = {"default": environ.Env.db_url_config(DATABASE_URL)}
ENGINE = DATABASES["default"].get("ENGINE")
if ENGINE == "django.db.backends.sqlite3":
    # IMMEDIATE takes the write lock at the start, so that two writers wait for each other instead of failing midway.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
    }
elif ENGINE == "django.db.backends.postgresql":
    # Two hundred threads may wait on providers at once; they give their connection back meanwhile and share these.
    DATABASES["default"]["OPTIONS"] = {
        # A webhook that gets no connection within the time-out answers 503, and Telegram comes again.
        "pool": {"min_size": 1, "max_size": env_int("DATABASE_POOL_SIZE", 20, minimum=1), "timeout": 5}
    }
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
else:
    raise ImproperlyConfigured("DATABASE_URL must start with postgres:// or sqlite:///.")

# --- Queue ------------------------------------------------------------------------------------

REDIS_URL = env_secret("REDIS_URL")
CELERY_TIMEZONE = TIME_ZONE
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
# The broker is a doorbell: a message carries an id, the database holds the work, and the sweeper enqueued_now again.
# So messages are acknowledged early, and publishing fails fast rather than making a caller wait.
CELERY_TASK_ACKS_LATE = False
CELERY_TASK_PUBLISH_RETRY = False
CELERY_WORKER_POOL = "threads"
CELERY_WORKER_CONCURRENCY = env_int("WORKER_CONCURRENCY", 200, minimum=1)
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any]
if REDIS_URL:
    CELERY_BROKER_URL = REDIS_URL
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "visibility_timeout": 600,
        # Without these a publish to a hung Redis waits for ever.
        "socket_timeout": 2,
        "socket_connect_timeout": 2,
        "socket_keepalive": True,
        "health_check_interval": 10,
    }
else:
    QUEUE_DIR = DATA_DIR / "queue"
    for folder in (QUEUE_DIR / "messages", QUEUE_DIR / "control"):
        folder.mkdir(parents=True, exist_ok=True)
    CELERY_BROKER_URL = "filesystem://localhost"
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(QUEUE_DIR / "messages"),
        "data_folder_out": str(QUEUE_DIR / "messages"),
        "control_folder": str(QUEUE_DIR / "control"),
        "polling_interval": 0.05,
    }

# --- Security ---------------------------------------------------------------------------------

HTTPS = env_bool("HTTPS", default=not DEBUG)
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^healthz/?$", r"^readyz/?$"]
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_AGE = 8 * 60 * 60
# Only a proxy of your own may say that a request came over HTTPS.
if env_bool("BEHIND_PROXY", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
REST_FRAMEWORK = {
    # The first one words the refusal: 401 with a hint at the token, rather than 403.
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["providers.statistics.permissions.StaffOrToken"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "AI bot: providers",
    "DESCRIPTION": "Statistics, cost comparison and the recommended provider.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["providers.statistics.permissions.StaffOrToken"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

# --- Logging ----------------------------------------------------------------------------------

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "aibot.redaction.RedactingFormatter",
            "format": "%(asctime)s %(levelname)-7s %(name)s: %(message)s",
            "datefmt": "%H:%M:%S" if DEBUG else "%Y-%m-%dT%H:%M:%S%z",
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {
        # Named without handlers, so that it loses Django's own: one prints every line again, unmasked, where DEBUG is
        # on, and one would send reports by mail.
        "django": {"level": "INFO"},
        "django.server": {"handlers": ["console"], "level": "INFO", "propagate": False},
        # httpx writes each URL at INFO, and Telegram's URLs hold the bot's token.
        "httpx": {"level": "WARNING"},
        # At DEBUG the Bot writes down every message that it sends.
        "telegram": {"level": "INFO"},
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
    },
}

# Django's error reports show the settings, and the exception's own words.
DEFAULT_EXCEPTION_REPORTER = "aibot.redaction.MaskingReporter"
DEFAULT_EXCEPTION_REPORTER_FILTER = "aibot.redaction.ReportFilter"

# --- Providers --------------------------------------------------------------------------------

# Base URLs come from the environment only, never from the admin: whoever changes one receives the key.
SANDBOX_URL = env_url("SANDBOX_URL")
PROVIDER_ACCESS = {
    slug: Access(key=env_secret(vendor.key_variable), base_url=env_url(vendor.base_url_variable, vendor.base_url))
    for slug, vendor in PROVIDERS.items()
}
# The sandbox answers only where no key at all is set: invented answers must never mix with paid ones.
SANDBOX_ACTIVE = bool(SANDBOX_URL) and not any(access.key for access in PROVIDER_ACCESS.values())
if SANDBOX_ACTIVE:
    PROVIDER_ACCESS = {
        slug: Access(
            key=f"sandbox-key-{slug}",
            base_url=env_url(vendor.base_url_variable, f"{SANDBOX_URL}/{slug}{vendor.base_path}"),
        )
        for slug, vendor in PROVIDERS.items()
    }

# Where vendors call us when a job is over; without the address or the secret the jobs are only asked for.
PUBLIC_URL = env_url("PUBLIC_URL")
REPLICATE_WEBHOOK_SECRET = env_secret("REPLICATE_WEBHOOK_SECRET")
if SANDBOX_ACTIVE:
    # The sandbox calls too, on this machine. Its secret protects nothing but its own inventions.
    PUBLIC_URL = PUBLIC_URL or f"http://127.0.0.1:{env_int('PORT', 8000, minimum=1)}"
    REPLICATE_WEBHOOK_SECRET = REPLICATE_WEBHOOK_SECRET or "whsec_c2FuZGJveC13ZWJob29rLXNlY3JldA=="

# --- Requests and credits ---------------------------------------------------------------------

# From the moment a request is accepted to the moment its user gets an answer or the credits back, in seconds.
DEADLINE_SECONDS = {"TEXT": 90, "IMAGE": 240, "VIDEO": 1800, "AUDIO": 240}
# A worker renews its claim three times within this; when it dies, another takes over once the lease has run out.
LEASE_SECONDS = env_int("LEASE_SECONDS", 15, minimum=1)
SWEEP_SECONDS = env_int("SWEEP_SECONDS", 3, minimum=1)
MAX_PROMPT_CHARACTERS = env_int("MAX_PROMPT_CHARACTERS", 32_000, minimum=1)
MAX_OPEN_REQUESTS = env_int("MAX_OPEN_REQUESTS", 3, minimum=1)
WELCOME_CREDITS = env_int("WELCOME_CREDITS", 20)
SYSTEM_PROMPT = env_text(
    "SYSTEM_PROMPT", "You are a helpful assistant in a Telegram chat. Answer in the language of the question."
)
DELIVERY_BACKEND = "telegram_bot.delivery.backend.TelegramDeliveryBackend"
# What the sweeper does in each round, in this order.
SWEEPS = [
    "requests_app.services.sweeper.sweep_requests",
    "telegram_bot.sweeper.sweep_telegram",
    "providers.statistics.rollups.fold_attempts",
]

# --- Telegram ---------------------------------------------------------------------------------

TELEGRAM_BOT_TOKEN = env_secret("TELEGRAM_BOT_TOKEN")
TELEGRAM_WEBHOOK_SECRET = env_secret("TELEGRAM_WEBHOOK_SECRET")
TELEGRAM_WEBHOOK_URL = env_url("TELEGRAM_WEBHOOK_URL")
TELEGRAM_API_BASE_URL = env_url("TELEGRAM_API_BASE_URL", "https://api.telegram.org")

# Everything that RedactingFormatter masks, longest first so that no secret survives inside another.
SECRETS = sorted(
    {
        secret
        for secret in (
            SECRET_KEY,
            REDIS_URL,
            *passwords_of(REDIS_URL),
            *passwords_of(DATABASE_URL),
            TELEGRAM_BOT_TOKEN,
            TELEGRAM_WEBHOOK_SECRET,
            REPLICATE_WEBHOOK_SECRET,
            S3_OPTIONS["secret_key"] or "",
            *(access.key for access in PROVIDER_ACCESS.values()),
        )
        if len(str(secret)) >= 6
    },
    key=len,
    reverse=True,
)
