"""Signing in to the admin, with a one-time code where the user has them on, and the page that switches them on."""

import logging
from base64 import b32encode
from typing import Any, cast

import segno
from django import forms
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.template.response import TemplateResponse
from unfold.forms import AuthenticationForm
from unfold.widgets import BASE_INPUT_CLASSES

from aibot.client_address import client_address
from aibot.one_time_codes import (
    RECOVERY,
    CodeRefused,
    are_any_on,
    are_on,
    code_use,
    recovery_codes_left,
    recovery_codes_renew,
    sessions_end,
    setup_begin,
    setup_confirm,
    setup_of,
    switch_off,
)

logger = logging.getLogger("aibot.sign_in")

SETUP = "one_time_codes_setup"  # in the session: the key of the secret that it has begun
MAX_CODE_CHARACTERS = 32  # with the blanks that people put into it


class SignInForm(AuthenticationForm):  # type: ignore[misc]  # unfold has no types
    """Name and password, and a one-time code from those who have switched them on."""

    code = forms.CharField(
        label="One-time code",
        required=False,
        max_length=MAX_CODE_CHARACTERS,
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "class": " ".join(BASE_INPUT_CLASSES)}),
        help_text="Of your authenticator app, or a recovery code; empty if you have not switched them on.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not are_any_on():
            del self.fields["code"]

    def clean(self) -> dict[str, Any]:
        """Check the code after the password, so that nobody learns without it who has codes."""
        cleaned: dict[str, Any] = super().clean()
        user = self.get_user()
        if user is not None and are_on(user):
            code = cleaned.get("code")
            if not code:
                raise ValidationError("Enter your one-time code too.", code="code_required")
            try:
                device = code_use(user, code)
            except CodeRefused as refusal:
                # Its owner, who may have mistyped, or somebody who knows the password.
                logger.warning(
                    "%s gave the right password and a wrong one-time code, from %s.",
                    user.get_username(),
                    client_address(self.request),
                )
                raise ValidationError(str(refusal), code="code_refused") from refusal
            if device == RECOVERY:
                _note(user.pk, user, "Signed in with a recovery code.")
        return cleaned


class CodeForm(forms.Form):
    """What the page of one's own codes asks for."""

    code = forms.CharField(
        label="Code", max_length=MAX_CODE_CHARACTERS, widget=forms.TextInput(attrs={"autocomplete": "one-time-code"})
    )


def one_time_codes_page(request: HttpRequest, context: dict[str, Any]) -> TemplateResponse:
    """Show whether the reader's own codes are on, and what switches them; after a POST also new recovery codes."""
    user = cast(User, request.user)  # the admin lets nobody else in
    form, shown, refusal = CodeForm(), [], ""
    if request.method == "POST":
        form = CodeForm(request.POST)
        try:
            shown = _act(request, user, form)
        except CodeRefused as refused:
            refusal = str(refused)
        else:
            form = CodeForm()
    setup = setup_of(user, request.session.get(SETUP))
    address = setup.config_url if setup else ""
    return TemplateResponse(
        request,
        "admin/one_time_codes.html",
        {
            **context,
            "title": "One-time codes",
            "are_on": are_on(user),
            "form": form,
            "refusal": refusal,
            "recovery_codes": shown,
            "left": recovery_codes_left(user),
            "secret": b32encode(setup.bin_key).decode() if setup else "",
            "qr_code": segno.make(address).svg_data_uri(scale=5, light="white") if setup else "",
        },
    )


def switched_off_note(*, by: Any, user: User) -> None:
    """Keep on record which user took somebody's codes away."""
    _note(by, user, "One-time codes switched off.")


def _act(request: HttpRequest, user: User, form: CodeForm) -> list[str]:
    """Do what a button says; return the recovery codes to show."""
    what, session = request.POST.get("do", ""), request.session
    if what == "begin":
        session[SETUP] = setup_begin(user)
        return []
    if not form.is_valid():
        raise CodeRefused("Enter a code.")
    code = form.cleaned_data["code"]
    if what == "confirm":
        codes = setup_confirm(user, code, key=session.get(SETUP))
        del session[SETUP]
        sessions_end(user, but=session.session_key)
        _note(user.pk, user, "One-time codes switched on.")
        return codes
    if what == "renew":
        codes = recovery_codes_renew(user, code)
        _note(user.pk, user, "Recovery codes replaced.")
        return codes
    if what == "off":
        code_use(user, code)
        switch_off(user)
        switched_off_note(by=user.pk, user=user)
        return []
    raise CodeRefused("This page has no such button. Open it again.")


def _note(by: Any, user: User, words: str) -> None:
    LogEntry.objects.log_actions(by, User.objects.filter(pk=user.pk), CHANGE, words, single_object=True)
