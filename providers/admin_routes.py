"""The pages of what an operator does with routes: pause and resume, test, warnings, files."""

from collections.abc import Callable
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from providers.admin_versions import VersionedAdmin
from providers.models import ProviderConfig
from providers.routes.advice import warnings_of_list_price, warnings_of_model, warnings_of_route
from providers.routes.files import MAX_BYTES, InvalidFile, StalePlan, routes_export, routes_import, routes_plan
from providers.routes.pauses import route_pause, route_resume
from providers.routes.testing import (
    CALLER,
    MAX_PROMPT_CHARACTERS,
    cost_of_test_at_most,
    new_test_key,
    prompt_of_test,
    route_test,
)
from providers.statistics.selectors import shown_usd
from providers.types import Operation
from providers.versioning import MAX_REASON, actor_of

DOUBTS = "providers.doubts"  # where a request keeps what speaks against the model that it brings


class RouteToolsAdmin(VersionedAdmin):
    """What the list and the pages of routes can do beyond editing them."""

    actions = ["pause_routes", "resume_routes"]
    further_tools: ClassVar[list[tuple[str, str]]] = []  # of the apps above this one: words, and names of addresses

    def get_urls(self) -> list[URLPattern]:
        views: dict[str, tuple[str, Callable[..., HttpResponse]]] = {
            "export": ("export/", self.export_view),
            "import": ("import/", self.import_view),
            "test": ("<path:object_id>/test/", self.test_view),
        }
        pages = [
            path(address, self.admin_site.admin_view(view), name=f"{self.opts.app_label}_{self.opts.model_name}_{name}")
            for name, (address, view) in views.items()
        ]
        return [*pages, *super().get_urls()]

    def tools(self, request: HttpRequest) -> list[tuple[str, str]]:
        imports = [("Import", "import")] if self.has_import_permission(request) else []
        return [("Export", "export"), *imports, *super().tools(request)]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        further = [(words, reverse(address)) for words, address in self.further_tools]
        return super().changelist_view(request, {"further_tools": further, **(extra_context or {})})

    def has_import_permission(self, request: HttpRequest) -> bool:
        """A file may hold new routes, other values for those that are there, and rules."""
        may_rule = request.user.has_perm("providers.change_routingrule")
        return self.has_add_permission(request) and self.has_change_permission(request) and may_rule

    def has_resume_permission(self, request: HttpRequest) -> bool:
        """A route's pause may be its key's, which the other routes of its provider use, too."""
        return self.has_change_permission(request) and request.user.has_perm("providers.change_providerhealth")

    @admin.action(description="Pause for an hour", permissions=["change"])
    def pause_routes(self, request: HttpRequest, queryset: QuerySet[ProviderConfig]) -> HttpResponse | None:
        reason = request.POST.get("why", "")[:MAX_REASON]
        ids = list(queryset.values_list("pk", flat=True))
        paused = sum(route_pause(route_id=pk, actor=actor_of(request), reason=reason) for pk in ids)
        words = f"{paused} paused for an hour. Jobs under way end as usual."
        self.message_user(request, words, messages.SUCCESS)
        return self._back_to_page(request, ids)

    @admin.action(description="Resume", permissions=["resume"])
    def resume_routes(self, request: HttpRequest, queryset: QuerySet[ProviderConfig]) -> HttpResponse | None:
        rows = list(queryset)
        resumed = [row for row in rows if route_resume(route_id=row.pk, actor=actor_of(request))]
        for row in resumed:
            self.log_change(request, row, "Resumed")
        level = messages.SUCCESS if resumed else messages.INFO
        self.message_user(request, f"{len(resumed)} of {len(rows)} resumed.", level)
        return self._back_to_page(request, [row.pk for row in rows])

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        context["may_resume"] = self.has_resume_permission(request)
        return super().render_change_form(request, context, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not form.changed_data:
            return
        was_enabled = bool(change and form.initial.get("enabled"))
        for words in warnings_of_route(obj, was_enabled=was_enabled, today=timezone.now().date()):
            self.message_user(request, words, messages.WARNING)
        if {"list_price", "price_unit", "prices"}.intersection(form.changed_data):
            for words in warnings_of_list_price(obj):
                self.message_user(request, words, messages.WARNING)

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Ask the provider for a new model before the transaction begins in which it is saved."""
        if request.method == "POST":
            request.META[DOUBTS] = self._doubts(request, object_id)
        answer: HttpResponse = super().changeform_view(request, object_id, form_url, extra_context)
        return answer

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        return type(form.__name__, (form,), {"doubts": request.META.get(DOUBTS, "")})

    def _doubts(self, request: HttpRequest, object_id: str | None) -> str:
        """Return what the provider's list says against the model that was typed; "" where that is not known."""
        route: Any = self.get_object(request, unquote(object_id)) if object_id else None
        if not (self.has_change_permission(request, route) if object_id else self.has_add_permission(request)):
            return ""
        form = self.get_form(request, route, change=route is not None)(request.POST, instance=route)
        if not form.is_valid() or not {"model", "provider"}.intersection(form.changed_data):
            return ""
        return " ".join(warnings_of_model(form.instance))

    def _back_to_page(self, request: HttpRequest, ids: list[int]) -> HttpResponse | None:
        """Return to the page whose button it was; None where it was the list's."""
        if "from_page" not in request.POST or len(ids) != 1:
            return None
        return HttpResponseRedirect(reverse(self._address("change"), args=ids))

    def export_view(self, request: HttpRequest) -> HttpResponse:
        """Download all routes and rules, without values that may be secrets."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        name = f"routes-{timezone.localtime():%Y-%m-%d}.json"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return HttpResponse(routes_export(), content_type="application/json", headers=headers)

    def import_view(self, request: HttpRequest) -> HttpResponse:
        """Take a file and show what it would change; a second POST, with the file's content, does it."""
        if not self.has_import_permission(request):
            raise PermissionDenied
        plan = None
        content = _content_of(request)
        try:
            if "confirm" in request.POST:
                fingerprint = request.POST["confirm"]
                done = routes_import(content=content, actor=actor_of(request), fingerprint=fingerprint)
                self.message_user(request, f"Imported: {len(done.planned)} changed or added.", messages.SUCCESS)
                return HttpResponseRedirect(reverse(self._address("changelist")))
            plan = routes_plan(content) if request.method == "POST" else None
        except InvalidFile as error:
            self.message_user(request, str(error), messages.ERROR)
        except StalePlan as error:
            self.message_user(request, str(error), messages.WARNING)
            plan = routes_plan(content)
        context = {
            **self.admin_site.each_context(request),
            "title": "Import routes",
            "subpage": "Import",
            "opts": self.opts,
            "plan": plan,
            "content": content,
        }
        return TemplateResponse(request, "admin/route_import.html", context)

    def test_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show what a test of this route would cost; a POST makes one call, or looks what became of its job."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        route: Any = self.get_object(request, unquote(object_id))
        if route is None:
            raise Http404("There is no such route.")
        test = None
        typed = request.POST.get("prompt", "").replace("\0", "")[:MAX_PROMPT_CHARACTERS]
        if request.method == "POST":
            key = request.POST.get("key", "")
            if not key.startswith(CALLER) or len(key) > 64 or "\0" in key:
                raise PermissionDenied
            test = route_test(route_id=route.pk, caller_key=key, prompt=typed)
            if not test.is_running:
                self.log_change(request, route, f"Tested: {test}"[:500])
        cost = cost_of_test_at_most(route, typed)
        context = {
            **self.admin_site.each_context(request),
            "title": f"Test {route}",
            "subpage": "Test",
            "opts": self.opts,
            "object": route,
            "test": test,
            "cost": None if test is None or test.attempt is None else shown_usd(test.attempt.cost),
            "cost_at_most": shown_usd(cost),
            "list_price": shown_usd(route.list_price),
            "prompt": typed or prompt_of_test(route).text,
            "takes_text": route.operation != Operation.TRANSCRIBE,
            "key": test.caller_key if test and test.is_running else new_test_key(),
        }
        return TemplateResponse(request, "admin/route_test.html", context)


def _content_of(request: HttpRequest) -> str:
    """Return the file that was sent, or what it held when it was shown."""
    file = request.FILES.get("file")
    # A browser sends text with CRLF at each end of a line, which JSON does not mind.
    return file.read(MAX_BYTES + 1).decode("utf-8-sig", "replace") if file else request.POST.get("content", "")
