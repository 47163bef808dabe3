"""The admin of what belongs to no single app: the tokens of the API, and alerts."""

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice
from rest_framework.authtoken.admin import TokenAdmin
from rest_framework.authtoken.models import Token, TokenProxy
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from aibot.api_tokens import scopes_of, token_create, token_revoke
from aibot.models import Alert, ApiToken, Notification, Scope
from aibot.one_time_codes import switch_off
from aibot.sign_in import switched_off_note
from providers.admin_base import ModelAdmin, NobodyEdits, ReadOnlyAdmin, ReadOnlyInline

DAYS_OF_A_TOKEN = 365  # unless its maker says otherwise


def _name_of(token: Token) -> str:
    return f"token of {token.user}"


# Its own name is the key, which the admin would show on several pages and keep in its history.
Token.__str__ = _name_of  # type: ignore[assignment,method-assign]

# These come with Django's look, or show too much.
admin.site.unregister([User, Group, TokenProxy, TOTPDevice, StaticDevice])


@admin.register(User)
class StaffAdmin(UserAdmin, ModelAdmin):  # type: ignore[type-arg]  # Django's class takes no argument at run time
    """Who may log in here."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ["username", "email", "is_active", "is_superuser", "last_login", "signs_in_with_codes"]
    actions = ["codes_switch_off"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        has_codes = TOTPDevice.objects.filter(user=OuterRef("pk"), confirmed=True)
        users: QuerySet[User] = super().get_queryset(request)
        return users.annotate(has_codes=Exists(has_codes))

    @admin.display(description="One-time codes", boolean=True)
    def signs_in_with_codes(self, user: Any) -> bool:
        return bool(user.has_codes)

    @admin.action(description="Switch off one-time codes", permissions=["change"])
    def codes_switch_off(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """For those who have lost their phone and their recovery codes."""
        others = [user for user in queryset if user.pk != request.user.pk]
        if len(others) < len(queryset):
            self.message_user(request, "Your own are switched off on their page, with a code.", messages.WARNING)
        switched = [user for user in others if switch_off(user)]
        for user in switched:
            switched_off_note(by=request.user.pk, user=user)
        names = ", ".join(user.get_username() for user in switched)
        self.message_user(
            request,
            f"The password alone signs in: {names}." if switched else "None of them had one-time codes on.",
            messages.SUCCESS if switched else messages.WARNING,
        )


@admin.register(Group)
class RoleAdmin(GroupAdmin, ModelAdmin):
    """What those with the same task may do."""


@admin.register(TokenProxy)
class OldTokenAdmin(NobodyEdits, TokenAdmin, ModelAdmin):
    """Tokens of earlier releases. They open what they did, until each is replaced by an API token and deleted here."""

    list_display = ["user", "created"]

    def has_delete_permission(self, request: HttpRequest, obj: Token | None = None) -> bool:
        return ModelAdmin.has_delete_permission(self, request, obj)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if request.method == "GET" and Token.objects.exists():
            words = (
                "These tokens are of an earlier release: stored as they are, without scopes and without an end. They "
                "open the statistics, the metrics and the documentation. Make an API token in place of each, then "
                "delete it."
            )
            self.message_user(request, words, messages.WARNING)
        return super().changelist_view(request, extra_context)


class ApiTokenForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's class takes no argument at run time
    """A new token, which may do no more than whoever makes it."""

    maker: User
    scopes = forms.MultipleChoiceField(choices=Scope, widget=UnfoldAdminCheckboxSelectMultipleWidget)

    class Meta:
        model = ApiToken
        fields = ["name", "scopes", "expires_at"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["scopes"].choices = [(scope.value, scope.label) for scope in scopes_of(self.maker)]  # type: ignore[attr-defined]  # of this kind of field
        self.fields["expires_at"].initial = timezone.now() + timedelta(days=DAYS_OF_A_TOKEN)

    def clean_expires_at(self) -> datetime | None:
        expires_at: datetime | None = self.cleaned_data["expires_at"]
        if expires_at and expires_at <= timezone.now():
            raise forms.ValidationError("This is over.")
        return expires_at


@admin.register(ApiToken)
class ApiTokenAdmin(ModelAdmin):
    """The tokens of the API. A key is shown once, when it is made; afterwards a token can only be revoked."""

    list_display = ["name", "beginning", "shown_scopes", "made_by", "state", "expires_at", "last_used_at"]
    list_select_related = ["made_by"]
    actions = ["revoke"]
    form = ApiTokenForm

    def get_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> Any:
        if obj is None:
            return ["name", "scopes", "expires_at"]
        dates = ["created_at", "expires_at", "last_used_at", "revoked_at"]
        return ["name", "beginning", "shown_scopes", "made_by", "state", *dates]

    def get_readonly_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> Any:
        return [] if obj is None else self.get_fields(request, obj)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        tokens: QuerySet[ApiToken] = super().get_queryset(request)
        return tokens.annotate(now=Now())

    def get_form(self, request: HttpRequest, obj: ApiToken | None = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is not None:
            kwargs |= {"form": forms.ModelForm, "fields": []}
            return super().get_form(request, obj, change=change, **kwargs)
        return type("ApiTokenForm", (super().get_form(request, obj, change=change, **kwargs),), {"maker": request.user})

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:
        """Make the token, and show its key."""
        if change:
            return  # there is nothing that could have changed
        token, key = token_create(
            name=obj.name,
            made_by=form.maker,
            scopes=[Scope(scope) for scope in form.cleaned_data["scopes"]],
            expires_at=obj.expires_at,
        )
        obj.pk, obj.beginning = token.pk, token.beginning
        self.message_user(request, f"The key is {key} It is shown only now.", messages.SUCCESS)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("aibot.change_apitoken")

    @admin.action(description="Revoke: the tokens open nothing any more", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        revoked = [token for token in queryset if token_revoke(token_id=token.pk)]
        for token in revoked:
            self.log_change(request, token, "Revoked")
        self.message_user(request, f"{len(revoked)} revoked.", messages.SUCCESS if revoked else messages.INFO)

    @admin.display(description="scopes")
    def shown_scopes(self, token: ApiToken) -> str:
        return ", ".join(map(str, token.scopes))

    @admin.display(description="state")
    def state(self, token: Any) -> str:
        if token.revoked_at:
            return "revoked"
        if not (token.made_by.is_active and token.made_by.is_staff):
            return "idle: its maker is no staff any more"
        return "expired" if token.expires_at and token.expires_at <= token.now else "valid"


class NotificationInline(ReadOnlyInline):
    """Which channels were told."""

    model = Notification
    fields = ["channel", "is_end", "sent_at", "tries", "next_at"]


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    """What needed the operator, and what still does."""

    list_display = ["began_at", "title", "advice", "ended_at", "told_by"]
    list_filter = [("ended_at", admin.EmptyFieldListFilter)]
    search_fields = ["title"]
    ordering = ["-began_at"]
    inlines = [NotificationInline]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Alert]:
        return super().get_queryset(request).prefetch_related("notifications")

    @admin.display(description="told by")
    def told_by(self, alert: Alert) -> str:
        return ", ".join(row.channel for row in alert.notifications.all() if row.sent_at and not row.is_end)
