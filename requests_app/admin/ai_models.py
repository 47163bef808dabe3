"""The admin pages of the AI models that users pick."""

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse

from providers.admin_fields import Box, RatesField
from providers.admin_versions import VersionedAdmin, VersionedForm
from providers.chain.candidates import has_route
from providers.models import ProviderConfig
from providers.types import Category
from requests_app.credit_rates import CHARACTERS, HEARD, INPUT, INPUT_IMAGES, MAX_RATE, OUTPUT, SEARCHES, SECONDS
from requests_app.margins import Margin, margin_of
from requests_app.models import AIModel
from requests_app.selectors import unserved_models

RATE_BOXES = [
    Box(INPUT, "1,000 input tokens"),
    Box(OUTPUT, "1,000 output tokens"),
    Box(CHARACTERS, "1,000 characters"),
    Box(SECONDS, "A second of video or audio"),
    Box(HEARD, "A minute of speech in the prompt"),
    Box(INPUT_IMAGES, "An image in the prompt, of which another is made"),
    Box(SEARCHES, "A web search"),
]


class AIModelForm(VersionedForm):
    """An AI model, whose tag some route must have."""

    rates = RatesField(
        RATE_BOXES,
        largest=MAX_RATE,
        example="credits such as 1.5",
        help_text=AIModel._meta.get_field("rates").help_text,
    )

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        category, tag = values.get("category"), values.get("tag")
        if category and tag and not has_route(Category(category), tag):
            self.add_error("tag", f"No route of {category} has the tag {tag!r}. Give it to one first: Admin → Routes.")
        return values


@admin.register(AIModel)
class AIModelAdmin(VersionedAdmin):
    """The AI models that users pick."""

    form = AIModelForm
    list_display = [
        "name",
        "category",
        "tag",
        "provider",
        "token_cost",
        "usual_margin",
        "worst_margin",
        "enabled",
        "position",
    ]
    list_editable = ["token_cost", "enabled", "position"]
    list_filter = ["category", "enabled"]
    search_fields = ["name", "slug"]
    prepopulated_fields = {"slug": ["name"]}
    readonly_fields = ["usual_margin", "worst_margin"]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if request.method == "GET":
            for model in unserved_models():
                tag = f" with the tag {model.tag!r}" if model.tag else ""
                words = f"{model.name} is not offered to users: no enabled route of {model.category}{tag} has a key."
                self.message_user(request, words, messages.WARNING)
        return super().changelist_view(request, extra_context)

    @admin.display(description="usual answer")
    def usual_margin(self, obj: AIModel) -> str:
        margin = self._margin(obj)
        return str((margin and margin.usual) or "unknown")

    @admin.display(description="answer that leaves the least")
    def worst_margin(self, obj: AIModel) -> str:
        margin = self._margin(obj)
        return f"{'⚠ ' if margin.is_loss else ''}{margin.worst or 'unknown'}" if margin else "unknown"

    def _margin(self, obj: Any) -> Margin | None:
        # For two columns of one row, counted once.
        if not hasattr(obj, "margin"):
            # As it is stored: a form that is refused is shown again with what was typed, which may be no rates at all.
            stored = AIModel.objects.filter(pk=obj.pk).first()
            routes = ProviderConfig.objects.filter(category=stored.category, enabled=True) if stored else []
            obj.margin = margin_of(stored, routes) if stored else None
        margin: Margin | None = obj.margin
        return margin

    def has_delete_permission(self, request: HttpRequest, obj: AIModel | None = None) -> bool:
        # Only unused ones, one at a time: the confirmation page would list all requests. Others can be disabled.
        return super().has_delete_permission(request, obj) and obj is not None and not obj.requests.exists()
