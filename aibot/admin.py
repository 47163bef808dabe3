"""The admin of what belongs to no single app: the tokens of the API, and alerts."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.http import HttpRequest
from rest_framework.authtoken.admin import TokenAdmin
from rest_framework.authtoken.models import Token, TokenProxy
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from aibot.models import Alert, Notification
from providers.admin_base import ModelAdmin, ReadOnlyAdmin, ReadOnlyInline


def _name_of(token: Token) -> str:
    return f"token of {token.user}"


# Its own name is the key, which the admin would show on several pages and keep in its history.
Token.__str__ = _name_of  # type: ignore[assignment,method-assign]

# These come with Django's look, or show too much.
admin.site.unregister([User, Group, TokenProxy])


@admin.register(User)
class StaffAdmin(UserAdmin, ModelAdmin):  # type: ignore[type-arg]  # Django's class takes no argument at run time
    """Who may log in here."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class RoleAdmin(GroupAdmin, ModelAdmin):  # type: ignore[type-arg]  # Django's class takes no argument at run time
    """What those with the same task may do."""


@admin.register(TokenProxy)
class ApiTokenAdmin(TokenAdmin, ModelAdmin):  # type: ignore[type-arg]  # Django's class takes no argument at run time
    """The tokens of the API. A key is shown once, when it is made."""

    list_display = ["user", "created"]

    def save_model(self, request: HttpRequest, obj: Token, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not change:
            self.message_user(request, f"The key is {obj.key}. It is shown only now.", messages.SUCCESS)


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
