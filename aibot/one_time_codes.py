"""One-time codes at sign-in, for staff who switch them on: those of an authenticator app, and recovery codes.

Algorithm and replay are django-otp's, and the growing pause after wrong codes. Whoever holds the database can compute
the codes, as with every such service; they protect from a password that somebody else knows.
"""

from collections.abc import Iterable

from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import transaction
from django.utils import timezone
from django_otp import verify_token
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

RECOVERY_CODES = 8
APP, RECOVERY = "authenticator app", "recovery codes"  # the names of a user's two devices
# The pause doubles with each wrong code, to 2 ** 8 seconds: nobody guesses six digits so, and nobody who knows the
# password locks their owner out for days.
MAX_COUNTED_FAILURES = 9


class CodeRefused(Exception):
    """Why nothing was changed, in words for whoever gave the code."""


def are_any_on() -> bool:
    """Return whether anybody here signs in with codes."""
    return bool(TOTPDevice.objects.filter(confirmed=True).exists())


def are_on(user: User) -> bool:
    """Return whether this user signs in with codes."""
    return bool(TOTPDevice.objects.filter(user=user, confirmed=True).exists())


def code_use(user: User, code: str) -> str:
    """Use up a code of somebody whose codes are on; return of what it was: APP or RECOVERY.

    Each is right once, also for two who use it at the same moment. Raises CodeRefused if it is none, or comes within
    the pause that follows wrong ones.
    """
    code = "".join(code.split()).lower()
    devices = TOTPDevice if code.isdecimal() else StaticDevice
    device = devices.objects.filter(user=user, confirmed=True).first()
    if device is None:
        raise CodeRefused("This is no code. Type the six digits of your authenticator app, or a recovery code.")
    _verify(device, code)
    return str(device.name)


def setup_of(user: User, key: int | None) -> TOTPDevice | None:
    """Return the secret that waits for its first code. `key` is what setup_begin() has returned to the same session."""
    return TOTPDevice.objects.filter(user=user, confirmed=False, pk=key).first()


@transaction.atomic
def setup_begin(user: User) -> int:
    """Make a secret for the app; nothing is asked at sign-in until setup_confirm() has seen a code of it.

    Returns the key of the secret, for the session that has begun and no other: else somebody who knows the password
    could prepare a secret for its owner to confirm. One that was begun before is replaced. Raises CodeRefused if codes
    are on.
    """
    _lock(user)
    if are_on(user):
        raise CodeRefused("One-time codes are on already. Switch them off first, to use another app.")
    TOTPDevice.objects.filter(user=user, confirmed=False).delete()
    return int(TOTPDevice.objects.create(user=user, name=APP, confirmed=False).pk)


def setup_confirm(user: User, code: str, *, key: int | None) -> list[str]:
    """Switch codes on with the first code of the app; return the recovery codes, which nothing shows again.

    Raises CodeRefused, with nothing switched on.
    """
    device = setup_of(user, key)
    if device is None:
        raise CodeRefused("There is no secret to confirm. Begin again.")
    _verify(device, "".join(code.split()))
    with transaction.atomic():
        _lock(user)
        if not TOTPDevice.objects.filter(pk=device.pk, confirmed=False).update(confirmed=True):
            raise CodeRefused("Meanwhile another secret was begun. Begin again.")
        return _recovery_codes_make(user)


def recovery_codes_renew(user: User, code: str) -> list[str]:
    """Replace the recovery codes, with a code as for signing in; return the new ones. Raises CodeRefused."""
    code_use(user, code)
    with transaction.atomic():
        _lock(user)
        return _recovery_codes_make(user)


def recovery_codes_left(user: User) -> int:
    """Return how many of the recovery codes are unused."""
    return int(StaticToken.objects.filter(device__user=user).count())


@transaction.atomic
def switch_off(user: User) -> bool:
    """Forget a user's secret and codes, so that the password alone signs in; return whether there were any."""
    _lock(user)
    were_on = are_on(user)
    TOTPDevice.objects.filter(user=user).delete()
    StaticDevice.objects.filter(user=user).delete()
    return were_on


def sessions_end(user: User, *, but: str | None) -> None:
    """Sign a user out everywhere else than in one session: those were opened by the password alone."""
    open_ones: Iterable[Session] = Session.objects.filter(expire_date__gt=timezone.now()).exclude(session_key=but)
    keys = [each.session_key for each in open_ones if each.get_decoded().get(SESSION_KEY) == str(user.pk)]
    Session.objects.filter(session_key__in=keys).delete()


def _verify(device: TOTPDevice | StaticDevice, code: str) -> None:
    if verify_token(device.user, device.persistent_id, code):
        return
    rows = type(device).objects.filter(pk=device.pk)
    rows.filter(throttling_failure_count__gt=MAX_COUNTED_FAILURES).update(throttling_failure_count=MAX_COUNTED_FAILURES)
    now = rows.first()  # None: it was switched off meanwhile
    is_open, pause = now.verify_is_allowed() if now else (True, {})
    until = None if is_open else pause.get("locked_until")
    when = f" Codes are taken again at {timezone.localtime(until):%H:%M:%S}." if until else ""
    raise CodeRefused(f"This code is not right, or was used already.{when}")


def _recovery_codes_make(user: User) -> list[str]:
    StaticDevice.objects.filter(user=user).delete()
    device = StaticDevice.objects.create(user=user, name=RECOVERY)
    codes = [StaticToken.random_token() for _ in range(RECOVERY_CODES)]
    StaticToken.objects.bulk_create(StaticToken(device=device, token=code) for code in codes)
    return codes


def _lock(user: User) -> None:
    """Let two changes of one user's codes follow each other."""
    User.objects.select_for_update().get(pk=user.pk)
