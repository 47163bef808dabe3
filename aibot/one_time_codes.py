"""One-time codes at sign-in, for staff who switch them on: those of an authenticator app, and recovery codes.

Algorithm, replay and slowing down after wrong codes are django-otp's. Whoever holds the database can compute the codes,
as with every such service; they protect from a password that somebody else knows.
"""

from django.contrib.auth.models import User
from django.db import transaction
from django_otp import verify_token
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

RECOVERY_CODES = 8
APP, RECOVERY = "authenticator app", "recovery codes"  # the names of a user's two devices


class CodeRefused(Exception):
    """Why nothing was changed, in words for whoever gave the code."""


class WrongCode(CodeRefused):
    def __init__(self) -> None:
        super().__init__(
            "This code is not right, was used already, or came too soon after a wrong one. Wait for the next one."
        )


def are_any_on() -> bool:
    """Tell whether anybody here signs in with codes."""
    return bool(TOTPDevice.objects.filter(confirmed=True).exists())


def are_on(user: User) -> bool:
    """Tell whether this user signs in with codes."""
    return bool(TOTPDevice.objects.filter(user=user, confirmed=True).exists())


def code_use(user: User, code: str) -> None:
    """Use up a code of the app, or a recovery code, of somebody whose codes are on; WrongCode if it is none.

    Each is right once, also for two who use it at the same moment. Wrong ones are followed by a growing pause.
    """
    code = "".join(code.split()).lower()
    devices = TOTPDevice if code.isdecimal() else StaticDevice
    device = devices.objects.filter(user=user, confirmed=True).first()
    if device is None or not verify_token(user, device.persistent_id, code):
        raise WrongCode


def setup_of(user: User) -> TOTPDevice | None:
    """Return the secret that waits for its first code."""
    return TOTPDevice.objects.filter(user=user, confirmed=False).first()


@transaction.atomic
def setup_begin(user: User) -> None:
    """Make a secret for the app; nothing is asked at sign-in until setup_confirm() has seen a code of it.

    One that was begun before is replaced. Raises CodeRefused if codes are on.
    """
    _lock(user)
    if are_on(user):
        raise CodeRefused("One-time codes are on already. Switch them off first, to use another app.")
    TOTPDevice.objects.filter(user=user, confirmed=False).delete()
    TOTPDevice.objects.create(user=user, name=APP, confirmed=False)


def setup_confirm(user: User, code: str) -> list[str]:
    """Switch codes on with the first code of the app; return the recovery codes, which nothing shows again.

    Raises CodeRefused, WrongCode included, with nothing switched on.
    """
    with transaction.atomic():
        _lock(user)
        device = setup_of(user)
        if device is None:
            raise CodeRefused("There is no secret to confirm. Begin again.")
        is_right = verify_token(user, device.persistent_id, "".join(code.split()))
        if is_right:
            TOTPDevice.objects.filter(pk=device.pk).update(confirmed=True)
            return _recovery_codes_make(user)
    raise WrongCode  # outside, since the count of wrong codes is to be kept


def recovery_codes_renew(user: User, code: str) -> list[str]:
    """Replace the recovery codes, with a code as for signing in; return the new ones. Raises WrongCode."""
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


def _recovery_codes_make(user: User) -> list[str]:
    StaticDevice.objects.filter(user=user).delete()
    device = StaticDevice.objects.create(user=user, name=RECOVERY)
    codes = [StaticToken.random_token() for _ in range(RECOVERY_CODES)]
    StaticToken.objects.bulk_create(StaticToken(device=device, token=code) for code in codes)
    return codes


def _lock(user: User) -> None:
    """Let two changes of one user's codes follow each other."""
    User.objects.select_for_update().get(pk=user.pk)
