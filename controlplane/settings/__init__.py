"""Every setting of the control plane, as docs/configuration.md describes them.

A bad value stops the start.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dj_database_url
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from controlplane import env
from orgs.plans import Plan

BASE_DIR = Path(__file__).resolve().parents[2]

# ---- Where things live -------------------------------------------------------------------------
TAMARACK_HOME = env.folder("TAMARACK_HOME", BASE_DIR / "var")
# Unix socket paths end at 107 bytes (sockaddr_un): a deep home gets a short, private folder for
# its sockets.
_SOCKET_ROOM = 107 - len("/index/") - 36 - len(".sock")
_HOME_ID = hashlib.sha256(os.fsencode(TAMARACK_HOME)).hexdigest()[:12]
_SHORT_RUN_DIR = Path(tempfile.gettempdir()) / f"tamarack-{os.getuid()}-{_HOME_ID}"
_HOME_RUN_DIR = TAMARACK_HOME / "run"
_RUN_DIR_FITS = len(os.fsencode(_HOME_RUN_DIR)) <= _SOCKET_ROOM
TAMARACK_RUN_DIR = env.folder(
    "TAMARACK_RUN_DIR", _HOME_RUN_DIR if _RUN_DIR_FITS else _SHORT_RUN_DIR
)
if len(os.fsencode(TAMARACK_RUN_DIR)) > _SOCKET_ROOM:
    raise ImproperlyConfigured(
        f"TAMARACK_RUN_DIR={str(TAMARACK_RUN_DIR)!r} is too long for unix sockets:"
        f" at most {_SOCKET_ROOM} bytes."
    )
# Index files in memory only. Root mounts a tmpfs of its own there; kms/memory.py decides whether
# it is safe.
TAMARACK_RAM_DIR = env.folder(
    "TAMARACK_RAM_DIR",
    Path(f"/dev/shm/tamarack-{os.getuid()}-{_HOME_ID}"),  # noqa: S108  made 0700, owner checked
)
TAMARACK_ALLOW_SWAP = env.boolean("TAMARACK_ALLOW_SWAP", default=False)

# ---- Addresses ---------------------------------------------------------------------------------
TAMARACK_PUBLIC_URL = env.https_url("TAMARACK_PUBLIC_URL", "https://localhost:8443")
TAMARACK_PUBLIC_HOST = urlsplit(TAMARACK_PUBLIC_URL).hostname or ""
TAMARACK_PUBLIC_PORT = urlsplit(TAMARACK_PUBLIC_URL).port or 443
TAMARACK_BIND = env.address("TAMARACK_BIND", "127.0.0.1")


def _is_address(host: str) -> bool:
    """Whether `host` is an IP address."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_single_host(host: str) -> bool:
    """Whether no sub-domain of `host` can be expected to resolve: localhost and IP addresses."""
    return host == "localhost" or _is_address(host)


# `port`: one gateway port per index (works on localhost).
# `host`: one name per index (needs wildcard DNS).
TAMARACK_PUBLIC_HOST_IS_SINGLE = _is_single_host(TAMARACK_PUBLIC_HOST)
TAMARACK_ADDRESSING = env.choice(
    "TAMARACK_ADDRESSING",
    "port" if TAMARACK_PUBLIC_HOST_IS_SINGLE else "host",
    ("port", "host"),
)
TAMARACK_INDEX_PORTS = env.port_range("TAMARACK_INDEX_PORTS", "8444-8507")
TAMARACK_INDEX_DOMAIN = (
    # Not used with `port` addressing, where the public host may be an address that has no names.
    env.domain("TAMARACK_INDEX_DOMAIN", f"svc.{TAMARACK_PUBLIC_HOST}")
    if TAMARACK_ADDRESSING == "host"
    else f"svc.{TAMARACK_PUBLIC_HOST}"
)
TAMARACK_UPSTREAM_PORTS = env.port_range("TAMARACK_UPSTREAM_PORTS", "21400-22399")
TAMARACK_TRUST_DOMAIN = env.domain("TAMARACK_TRUST_DOMAIN", "tamarack.internal")
TAMARACK_NODE = env.domain("TAMARACK_NODE", "node-1", parts=1)

# ---- Outgoing ----------------------------------------------------------------------------------
# People of an organization name webhooks and storage: by default, only what is outside.
TAMARACK_ALLOW_PRIVATE_TARGETS = env.boolean("TAMARACK_ALLOW_PRIVATE_TARGETS", default=False)
# Who is asked for the TXT records of domains; empty: the system's name servers.
TAMARACK_DNS_SERVERS = env.name_servers("TAMARACK_DNS_SERVERS")

# ---- Gateway -----------------------------------------------------------------------------------
TAMARACK_TLS_MAX = env.choice("TAMARACK_TLS_MAX", "1.2", ("1.2", "1.3"))
TAMARACK_PROJECT_RATE = env.integer("TAMARACK_PROJECT_RATE", 2000, low=1, high=1_000_000)
TAMARACK_MAX_REQUEST_BYTES = env.integer(
    "TAMARACK_MAX_REQUEST_BYTES", 4 * 1024 * 1024, low=64 * 1024, high=64 * 1024 * 1024
)

# ---- Django ------------------------------------------------------------------------------------
# The key file is made at the first start; a command that runs before gets a key that dies with it.
_SECRET_KEY_FILE = TAMARACK_HOME / "keys" / "django.key"
SECRET_KEY = (
    _SECRET_KEY_FILE.read_text().strip() if _SECRET_KEY_FILE.exists() else secrets.token_urlsafe(48)
)
DEBUG = False
# What the gateway leads here under `host` addressing; its certificate has the same names.
ALLOWED_HOSTS = [
    f"[{TAMARACK_PUBLIC_HOST}]" if ":" in TAMARACK_PUBLIC_HOST else TAMARACK_PUBLIC_HOST,
    f"api.{TAMARACK_PUBLIC_HOST}",
    "localhost",
    "api.localhost",
    "127.0.0.1",
    "[::1]",
]
CSRF_TRUSTED_ORIGINS = [TAMARACK_PUBLIC_URL]
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "csp",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "rest",
    "audit",
    "orgs",
    "projects",
    "sso",
    "keys",
    "indexes",
    "gateway",
    "console",
    "django_htmx",
    "controlplane",
]
MIDDLEWARE = [
    "controlplane.middleware.RequestIdMiddleware",
    "controlplane.middleware.KeyNameMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "controlplane.middleware.SessionLimitsMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "controlplane.middleware.RefusalMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]
ROOT_URLCONF = "controlplane.urls"
WSGI_APPLICATION = "controlplane.wsgi.application"
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
                "console.context_processors.appearance",
            ],
        },
    }
]
APPEND_SLASH = False
LANGUAGE_CODE = "en"
USE_I18N = False
TIME_ZONE = "UTC"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024

STATIC_URL = "/static/"
STATIC_ROOT = TAMARACK_HOME / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

# ---- Database ----------------------------------------------------------------------------------
DATABASE_URL = env.secret("DATABASE_URL")
if DATABASE_URL:
    try:
        _default = dj_database_url.parse(DATABASE_URL, conn_max_age=60, conn_health_checks=True)
    except ValueError:
        # Its own message would repeat the address, password included: `from None` drops it.
        raise ImproperlyConfigured(
            "DATABASE_URL can't be read: it has to look like"
            " postgres://user:password@host:5432/name."
        ) from None
    if _default["ENGINE"] != "django.db.backends.postgresql":
        raise ImproperlyConfigured(
            "DATABASE_URL has to be a postgres:// address, or unset for SQLite."
        )
    DATABASES: dict[str, Any] = {"default": dict(_default)}
else:
    # IMMEDIATE: a deferred transaction that turns into a writer fails at once, busy timeout or not.
    # FULL: this database holds wrapped keys; a commit lost at a power cut could lose an index.
    # secure_delete: a shredded key leaves no copy behind in free pages.
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": TAMARACK_HOME / "db.sqlite3",
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": (
                    "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;PRAGMA secure_delete=ON;"
                ),
            },
        }
    }

# ---- Queue -------------------------------------------------------------------------------------
REDIS_URL = env.secret("REDIS_URL")
CELERY_BROKER_URL = REDIS_URL or f"redis+socket://{TAMARACK_RUN_DIR / 'valkey.sock'}"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_TIME_LIMIT = 240
CELERY_TASK_SOFT_TIME_LIMIT = 200
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # More than twice the hard limit: a second worker gets a message only when the first is gone.
    "visibility_timeout": 600,
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    "socket_keepalive": True,
    "socket_timeout": 10,
    "socket_connect_timeout": 3,
    # For publishing, which happens inside requests; workers reconnect by rules of their own.
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0.1,
    "interval_max": 0.1,
    # Several installations may share one Redis.
    "global_keyprefix": f"tamarack:{_HOME_ID}:",
}
# Publishing is a hint, never worth holding a request for: beat repeats what a dead queue lost.
CELERY_TASK_PUBLISH_RETRY = False
# Messages of a schedule expire: what a dead worker left behind must not pile up.
CELERY_BEAT_SCHEDULE = {
    "seal-audit-events": {
        "task": "audit.tasks.seal_events",
        "schedule": 2.0,
        "options": {"expires": 20},
    },
    "deliver-audit-streams": {
        "task": "audit.tasks.deliver_streams",
        "schedule": 5.0,
        "options": {"expires": 20},
    },
    "forget-old-audit-events": {
        "task": "audit.tasks.forget_old_events",
        "schedule": 24 * 3600.0,
        "options": {"expires": 3600},
    },
    "forget-replies": {
        "task": "rest.tasks.forget_replies",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "forget-ended-sessions": {
        "task": "orgs.tasks.forget_ended_sessions",
        "schedule": 3600.0,
        "options": {"expires": 3600},
    },
    "remove-expired-roles": {
        "task": "orgs.tasks.remove_expired_roles",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "forget-old-decisions": {
        "task": "orgs.tasks.forget_old_decisions",
        "schedule": 3600.0,
        "options": {"expires": 3600},
    },
    "deliver-mail": {
        "task": "orgs.tasks.deliver_due_mail",
        "schedule": 10.0,
        "options": {"expires": 20},
    },
    "forget-old-mail": {
        "task": "orgs.tasks.forget_old_mail",
        "schedule": 3600.0,
        "options": {"expires": 3600},
    },
    "handle-leak-reports": {
        "task": "keys.tasks.handle_leak_reports",
        "schedule": 10.0,
        "options": {"expires": 20},
    },
    "end-idle-secrets": {
        "task": "keys.tasks.end_idle_secrets",
        "schedule": 30.0,
        "options": {"expires": 60},
    },
    "forget-ended-tokens": {
        "task": "keys.tasks.forget_ended_tokens",
        "schedule": 600.0,
        "options": {"expires": 600},
    },
    "forget-old-key-usage": {
        "task": "keys.tasks.forget_old_usage",
        "schedule": 24 * 3600.0,
        "options": {"expires": 3600},
    },
    "forget-sign-ins": {
        "task": "sso.tasks.forget_sign_ins",
        "schedule": 600.0,
        "options": {"expires": 600},
    },
    "recheck-domains": {
        "task": "sso.tasks.recheck_domains",
        "schedule": 600.0,
        "options": {"expires": 300},
    },
    "refresh-metadata": {
        "task": "sso.tasks.refresh_due_metadata",
        "schedule": 300.0,
        "options": {"expires": 300},
    },
    "warn-of-expiry": {
        "task": "sso.tasks.warn_of_expiry",
        "schedule": 3600.0,
        "options": {"expires": 3600},
    },
    "forget-old-setup-links": {
        "task": "sso.tasks.forget_old_setup_links",
        "schedule": 24 * 3600.0,
        "options": {"expires": 3600},
    },
    "sweep-operations": {
        "task": "indexes.tasks.sweep_operations",
        "schedule": 2.0,
        "options": {"expires": 20},
    },
    "reconcile-deployments": {
        "task": "indexes.tasks.reconcile_deployments",
        "schedule": 10.0,
        "options": {"expires": 20},
    },
    "renew-gateway-certificates": {
        "task": "gateway.tasks.renew_certificates",
        "schedule": 300.0,
        "options": {"expires": 600},
    },
    "count-key-usage": {
        "task": "gateway.tasks.count_usage",
        "schedule": 5.0,
        "options": {"expires": 30},
    },
    "measure-indexes": {
        "task": "indexes.tasks.measure_indexes",
        "schedule": 30.0,
        "options": {"expires": 30},
    },
    "forget-old-traffic": {
        "task": "indexes.tasks.forget_old_traffic",
        "schedule": 24 * 3600.0,
        "options": {"expires": 3600},
    },
    "rotate-gateway-access-log": {
        "task": "gateway.tasks.rotate_access_log",
        "schedule": 60.0,
        "options": {"expires": 120},
    },
}

# ---- Who may come in ---------------------------------------------------------------------------
AUTH_USER_MODEL = "orgs.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.ScryptPasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_ADAPTER = "orgs.adapters.AccountAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
# Whoever makes an account vouches for its address; every other one has to be proven by a mail.
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_CHANGE_EMAIL = True
ACCOUNT_EMAIL_CONFIRMATION_EXPIRE_DAYS = 1
ACCOUNT_EMAIL_NOTIFICATIONS = True
# Nobody can have mail sent to an address that is nobody's account.
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_EMAIL_SUBJECT_PREFIX = "[Tamarack] "
ACCOUNT_PREVENT_ENUMERATION = True
PASSWORD_RESET_TIMEOUT = 3600
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
ACCOUNT_SESSION_REMEMBER = False
ACCOUNT_RATE_LIMITS = {
    "login": "30/m/ip",
    # Per address and per account: guessing is hopeless, and a stranger can't lock an owner out for
    # longer than five minutes.
    "login_failed": "10/m/ip,10/300s/key",
    "change_password": "5/m/user",
    "reset_password": "20/m/ip,5/m/key",
    "reset_password_from_key": "20/m/ip",
    "manage_email": "10/m/user",
    # One mail to one address in three minutes.
    "confirm_email": "1/180s/key",
    "verify_email": "20/m/ip",
    "reauthenticate": "10/m/user",
    "manage_second_factor": "20/m/user",
    "manage_sessions": "30/m/user",
}
ACCOUNT_FORMS = {
    "reset_password": "orgs.account.forms.ResetPasswordForm",
    "user_token": "orgs.account.forms.ResetLinkForm",
}
SOCIALACCOUNT_ADAPTER = "sso.adapters.SocialAccountAdapter"
MFA_ADAPTER = "orgs.adapters.SecondFactorAdapter"
# Browsers take passkeys for names only, never for an IP address.
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
if not _is_address(TAMARACK_PUBLIC_HOST):
    MFA_SUPPORTED_TYPES.append("webauthn")
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_RECOVERY_CODES_SHOW_ONCE = True
MFA_TOTP_ISSUER = "Tamarack"
# A new address stays apart until it is proven, so it may be added with a second factor in use.
MFA_ALLOW_UNVERIFIED_EMAIL = True
MFA_RATE_LIMITS = {"webauthn_login": "10/m/ip"}
# The code before and after count too: people need time to type, and phones' clocks are not exact.
MFA_TOTP_TOLERANCE = 1
MFA_FORMS = {
    "authenticate": "orgs.account.forms.AuthenticateCodeForm",
    "reauthenticate": "orgs.account.forms.ReauthenticateCodeForm",
    "add_webauthn": "orgs.account.forms.AddPasskeyForm",
    "authenticate_webauthn": "orgs.account.forms.AuthenticatePasskeyForm",
    "login_webauthn": "orgs.account.forms.LoginPasskeyForm",
    "reauthenticate_webauthn": "orgs.account.forms.ReauthenticatePasskeyForm",
}
# `localmem` would count per process; the database is shared by all.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "cache",
        # Rate limits live here: with the default of 300, a few hundred made-up names would push
        # everybody's counts out.
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    }
}

SESSION_COOKIE_SECURE = True
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_NAME = "__Host-tamarack-session"
# A sign-in ends after this many seconds however busy, and after that many without a request.
SESSION_COOKIE_AGE = env.integer("TAMARACK_SESSION_AGE", 12 * 3600, low=300, high=24 * 3600)
TAMARACK_SESSION_IDLE = env.integer("TAMARACK_SESSION_IDLE", 3600, low=120, high=24 * 3600)
# How long after proving who they are people may do dangerous things (orgs.permissions.DANGEROUS).
TAMARACK_DEFAULT_PLAN = env.choice(
    "TAMARACK_DEFAULT_PLAN", Plan.ENTERPRISE.value, [plan.value for plan in Plan]
)
TAMARACK_REAUTH_SECONDS = env.integer("TAMARACK_REAUTH_SECONDS", 300, low=60, high=3600)
ACCOUNT_REAUTHENTICATION_TIMEOUT = TAMARACK_REAUTH_SECONDS
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
CSRF_COOKIE_SECURE = True
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_NAME = "__Host-tamarack-csrf"
CSRF_FAILURE_VIEW = "controlplane.errors.csrf_failure"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SECURE_HSTS_SECONDS = 31_536_000
# The gateway overwrites this header; nothing else reaches Django's socket.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = False
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # HSTS for sub-domains: the operator's domain may hold other services
    "security.W008",  # no redirect: the gateway speaks TLS only
    "security.W021",  # HSTS preload: as W005
]
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}

# ---- Mail --------------------------------------------------------------------------------------
_mail_server = env.mail_server("TAMARACK_EMAIL_URL")
TAMARACK_HAS_MAIL = _mail_server is not None
TAMARACK_MAIL_FOLDER = TAMARACK_HOME / "mail"
_MAIL_DOMAIN = "localhost" if _is_address(TAMARACK_PUBLIC_HOST) else TAMARACK_PUBLIC_HOST
DEFAULT_FROM_EMAIL = env.mailbox("TAMARACK_EMAIL_FROM", f"Tamarack <tamarack@{_MAIL_DOMAIN}>")
EMAIL_BACKEND = "orgs.mail_folder.FolderBackend"
EMAIL_TIMEOUT = 20
if _mail_server is not None:
    EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    EMAIL_HOST, EMAIL_PORT = _mail_server.host, _mail_server.port
    EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _mail_server.user, _mail_server.password
    EMAIL_USE_SSL, EMAIL_USE_TLS = _mail_server.implicit_tls, _mail_server.start_tls

# ---- REST --------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "keys.authentication.BearerAuthentication",
        "keys.authentication.ApiKeyAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "controlplane.negotiation.AlwaysJson",
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "rest.schema.Schema",
    "EXCEPTION_HANDLER": "controlplane.errors.exception_handler",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Tamarack",
    "DESCRIPTION": "The control plane: Pinecone's control plane and Admin API, and what goes beyond"
    " them in the same style. docs/api.md explains what all operations have in common.",
    "VERSION": "0.1.0",
    "LICENSE": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    "SERVERS": [{"url": "/"}],
    "OAS_VERSION": "3.1.1",
    "COMPONENT_SPLIT_PATCH": False,
    "POSTPROCESSING_HOOKS": [],
    # Gaps are collected and fail the check; printed they would only fill the log.
    "DISABLE_ERRORS_AND_WARNINGS": True,
}
# Requests a minute that one caller of the Admin API may send.
TAMARACK_API_RATE = env.integer("TAMARACK_API_RATE", 600, low=10, high=1_000_000)
# Who may call the Admin API. The first that knows the kind of credential decides.
TAMARACK_ADMIN_AUTHENTICATION = [
    "keys.authentication.BearerAuthentication",
    "orgs.api.base.SessionAuthentication",
]

# ---- Logs: one JSON object a line on stderr, which the supervisor keeps in log/ ------------------
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "controlplane.logs.JsonFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {
        # A line for every message of a two-second schedule would bury the others.
        **{
            name: {"level": "WARNING"}
            for name in ("celery.beat", "celery.worker.strategy", "celery.app.trace")
        },
    },
}
