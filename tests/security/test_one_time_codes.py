"""One-time codes: who has them on signs in with one, each is right once, and a lost phone locks nobody out for good."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from django_otp.oath import TOTP
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from aibot.one_time_codes import MAX_COUNTED_FAILURES, RECOVERY_CODES, CodeRefused, code_use, setup_begin, setup_confirm

PASSWORD = "a-long-enough-password"
PAGE = "/admin/one-time-codes/"

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator():
    return User.objects.create_superuser("operator", password=PASSWORD)


def code_of(user: User, steps: int = 0) -> str:
    """Return what the authenticator app shows so many half minutes from now."""
    device = TOTPDevice.objects.get(user=user)
    totp = TOTP(device.bin_key)
    totp.time = totp.time + steps * device.step
    return f"{totp.token():06d}"


def switch_on(user: User) -> list[str]:
    key = setup_begin(user)
    return setup_confirm(user, code_of(user), key=key)


def forget_pause() -> None:
    """As if the pause after a wrong code were over."""
    for devices in (TOTPDevice, StaticDevice):
        devices.objects.update(throttling_failure_timestamp=None, throttling_failure_count=0)


def sign_in(code: str = "", *, password: str = PASSWORD) -> tuple[int, str]:
    form = {"username": "operator", "password": password, "code": code}
    response = Client().post("/admin/login/", form)
    return response.status_code, response.content.decode()


def test_nobody_is_asked_for_a_code_before_somebody_has_switched_them_on(operator):
    assert "One-time code" not in Client().get("/admin/login/").content.decode()

    switch_on(operator)

    assert "One-time code" in Client().get("/admin/login/").content.decode()


def test_switching_on_takes_a_code_of_the_app_and_shows_recovery_codes_once(operator):
    browser = Client()
    browser.force_login(operator)
    assert "One-time codes are off" in browser.get(PAGE).content.decode()

    begun = browser.post(PAGE, {"do": "begin"}).content.decode()
    assert "data:image/svg+xml" in begun
    assert sign_in()[0] == 302  # not asked for yet
    wrong = browser.post(PAGE, {"do": "confirm", "code": "12345"}).content.decode()
    assert "not right" in wrong
    forget_pause()
    shown = browser.post(PAGE, {"do": "confirm", "code": code_of(operator)}).content.decode()

    codes = re.findall(r"<li>(\w{8})</li>", shown)
    assert len(codes) == RECOVERY_CODES
    page = browser.get(PAGE).content.decode()
    assert f"one of {RECOVERY_CODES} recovery codes" in page
    assert not any(code in page for code in codes)
    assert TOTPDevice.objects.get().key not in page
    assert LogEntry.objects.filter(object_id=operator.pk, change_message="One-time codes switched on.").count() == 1


def test_the_password_alone_does_not_sign_in_and_the_code_alone_neither(operator):
    switch_on(operator)

    status, page = sign_in()
    assert (status, "Enter your one-time code too" in page) == (200, True)
    assert sign_in(code_of(operator, 1), password="guess")[0] == 200
    assert sign_in(code_of(operator, 1))[0] == 302


def test_whoever_does_not_know_the_password_does_not_learn_who_has_codes(operator):
    without = sign_in(password="guess")[1]
    switch_on(operator)
    with_codes = sign_in(password="guess")[1]

    assert "correct" in without
    assert "one-time code too" not in with_codes
    assert "not right" not in with_codes


def test_a_code_is_right_once_and_wrong_ones_are_followed_by_a_pause(operator):
    switch_on(operator)
    code = code_of(operator, 1)
    assert sign_in(f" {code[:3]} {code[3:]} ")[0] == 302

    assert sign_in(code)[0] == 200  # used
    status, page = sign_in(code_of(operator, 1))
    assert (status, "Codes are taken again at" in page) == (200, True)


def test_a_wrong_code_is_counted_although_the_page_is_shown_again(operator):
    switch_on(operator)
    for _ in range(3):
        sign_in("no-such-code")
        sign_in("000000")

    assert StaticDevice.objects.get().throttling_failure_count == 1  # the later ones came within its pause
    assert TOTPDevice.objects.get().throttling_failure_count == 1


@pytest.mark.parametrize("code", ["\0", "💥", "٣٤٥٦٧٨", "9" * 33, "-1", "1e3", "' OR 1=1"])
def test_a_strange_code_is_refused(operator, code):
    switch_on(operator)

    assert sign_in(code)[0] in (200, 400)


def test_a_recovery_code_signs_in_once(operator):
    first, second, *_ = switch_on(operator)

    assert sign_in(first)[0] == 302
    assert sign_in(first)[0] == 200
    forget_pause()
    assert sign_in(second.upper())[0] == 302


def test_new_recovery_codes_replace_the_old_ones(operator):
    old, *_ = switch_on(operator)
    browser = Client()
    browser.force_login(operator)

    page = browser.post(PAGE, {"do": "renew", "code": code_of(operator, 1)}).content.decode()

    new = re.findall(r"<li>(\w{8})</li>", page)
    assert len(new) == RECOVERY_CODES
    assert sign_in(old)[0] == 200
    forget_pause()
    assert sign_in(new[0])[0] == 302


def test_switching_off_takes_a_code(operator):
    switch_on(operator)
    browser = Client()
    browser.force_login(operator)

    assert "not right" in browser.post(PAGE, {"do": "off", "code": "000"}).content.decode()
    assert sign_in()[0] == 200
    forget_pause()
    assert "are off" in browser.post(PAGE, {"do": "off", "code": code_of(operator, 1)}).content.decode()
    assert sign_in()[0] == 302


@pytest.mark.parametrize(
    "form", [{}, {"do": "confirm", "code": "123456"}, {"do": "renew", "code": "123456"}, {"do": "x"}]
)
def test_a_button_of_another_state_changes_nothing(operator, form):
    browser = Client()
    browser.force_login(operator)

    assert browser.post(PAGE, form).status_code == 200
    assert not TOTPDevice.objects.exists()


def test_codes_that_are_on_are_not_replaced_by_beginning_again(operator):
    switch_on(operator)
    key = TOTPDevice.objects.get().key
    browser = Client()
    browser.force_login(operator)

    assert "on already" in browser.post(PAGE, {"do": "begin"}).content.decode()
    assert TOTPDevice.objects.get().key == key


def test_an_owner_switches_them_off_for_somebody_who_has_lost_the_phone(operator):
    switch_on(operator)
    owner = User.objects.create_superuser("owner")
    browser = Client()
    browser.force_login(owner)
    form = {"action": "codes_switch_off", "_selected_action": [operator.pk, owner.pk]}

    assert browser.post("/admin/auth/user/", form).status_code == 302

    assert sign_in()[0] == 302
    record = LogEntry.objects.get(object_id=operator.pk)
    assert (record.user, record.change_message) == (owner, "One-time codes switched off.")
    assert not LogEntry.objects.filter(object_id=owner.pk).exists()


def test_who_may_only_view_the_staff_cannot_switch_them_off(operator):
    switch_on(operator)
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_user"))
    browser = Client()
    browser.force_login(viewer)

    browser.post("/admin/auth/user/", {"action": "codes_switch_off", "_selected_action": [operator.pk]})

    assert sign_in()[0] == 200


def test_the_only_operator_gets_in_again_by_the_command_line(operator, capsys):
    switch_on(operator)
    for _ in range(30):
        sign_in("no-such-code")
        sign_in("000000")

    call_command("one_time_codes", "off", "operator")
    assert "The password alone signs operator in." in capsys.readouterr().out
    assert sign_in()[0] == 302

    call_command("one_time_codes", "off", "operator")
    assert "has no one-time codes on" in capsys.readouterr().out
    with pytest.raises(CommandError, match="Nobody is called 'nobody'"):
        call_command("one_time_codes", "off", "nobody")


def test_the_pause_stops_growing_so_that_nobody_is_locked_out_for_days(operator):
    switch_on(operator)
    for devices in (TOTPDevice, StaticDevice):
        devices.objects.update(throttling_failure_timestamp=timezone.now(), throttling_failure_count=40)

    for code in ("000000", "no-such-code"):
        assert sign_in(code)[0] == 200

    for devices in (TOTPDevice, StaticDevice):
        device = devices.objects.get()
        assert device.throttling_failure_count == MAX_COUNTED_FAILURES
        allowed, pause = device.verify_is_allowed()
        assert not allowed
        assert pause["locked_until"] - timezone.now() < timedelta(minutes=5)


def test_a_secret_that_another_session_has_begun_is_not_shown_to_be_confirmed(operator):
    thief, owner = Client(), Client()
    for browser in (thief, owner):
        browser.force_login(operator)
    thief.post(PAGE, {"do": "begin"})
    code = code_of(operator)

    assert "One-time codes are off" in owner.get(PAGE).content.decode()
    assert "no secret to confirm" in owner.post(PAGE, {"do": "confirm", "code": code}).content.decode()
    owner.post(PAGE, {"do": "begin"})
    assert "no secret to confirm" in thief.post(PAGE, {"do": "confirm", "code": code_of(operator)}).content.decode()


def test_switching_on_signs_out_who_came_in_by_the_password_alone(operator):
    thief, owner, other = Client(), Client(), Client()
    for browser in (thief, owner):
        browser.force_login(operator)
    other.force_login(User.objects.create_superuser("other"))
    owner.post(PAGE, {"do": "begin"})

    owner.post(PAGE, {"do": "confirm", "code": code_of(operator)})

    assert [browser.get("/admin/").status_code for browser in (thief, owner, other)] == [302, 200, 200]


def test_a_wrong_code_after_the_right_password_and_a_recovery_code_leave_a_trace(operator, caplog):
    recovery, *_ = switch_on(operator)

    sign_in("000000")
    assert "operator gave the right password and a wrong one-time code, from 127.0.0.1." in caplog.text
    sign_in(recovery)
    assert LogEntry.objects.get().change_message == "Signed in with a recovery code."


def test_ones_own_are_not_switched_off_without_a_code(operator):
    switch_on(operator)
    browser = Client()
    browser.force_login(operator)

    page = browser.post(
        "/admin/auth/user/", {"action": "codes_switch_off", "_selected_action": [operator.pk]}, follow=True
    )

    assert "Your own are switched off on their page" in page.content.decode()
    assert sign_in()[0] == 200


def test_the_secrets_are_on_no_page_of_the_admin(operator, client):
    switch_on(operator)
    client.force_login(operator)

    for table in ("totpdevice", "staticdevice"):
        assert client.get(f"/admin/otp_{table.removesuffix('device')}/{table}/").status_code == 404


@pytest.mark.django_db(transaction=True)
def test_of_two_who_use_a_code_at_once_one_is_right(operator):
    recovery, *_ = switch_on(operator)

    def use(_: int) -> bool:
        try:
            code_use(operator, recovery)
        except CodeRefused:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(use, range(4))) == 1
