"""The Playground's pages: a prompt of a category down the chain or on one route, streamed, with its trail and cost."""

import base64
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from providers.admin_routes import RouteToolsAdmin
from providers.models import Attempt, ProviderConfig
from providers.routes.playground import (
    MAX_PROMPT_CHARACTERS,
    Trial,
    playground_prompt,
    playground_routes,
    playground_run,
    playground_stream,
    prompt_costs_at_most,
)
from providers.routes.testing import CALLER, PROMPTS, new_test_key
from providers.statistics.selectors import shown_usd
from providers.types import Category

logger = logging.getLogger("providers")

STREAM_TYPE = "application/x-ndjson"  # a line of JSON for each piece of news; an empty line for none
CHAIN = "The chain, as users' prompts"


@dataclass(frozen=True, slots=True)
class Price:
    """What one call on a route costs, as the form says it before."""

    route: ProviderConfig
    list_price: str
    at_most: str


@dataclass(frozen=True, slots=True)
class TrailLine:
    """One call, as the trail shows it."""

    attempt: Attempt
    cost: str


class PlaygroundForm(forms.Form):
    """A prompt, and who is asked."""

    route = forms.ChoiceField(label="Ask", required=False, widget=UnfoldAdminSelectWidget())
    system = forms.CharField(
        label="System prompt",
        required=False,
        max_length=MAX_PROMPT_CHARACTERS,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
    )
    prompt = forms.CharField(max_length=MAX_PROMPT_CHARACTERS, widget=UnfoldAdminTextareaWidget(attrs={"rows": 5}))

    def __init__(self, *args: Any, category: Category, routes: Sequence[ProviderConfig], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.category = category
        self._routes = {str(route.pk): route for route in routes}
        labels = {pk: route.label if route.enabled else f"{route.label} (off)" for pk, route in self._routes.items()}
        self.fields["route"].choices = [("", CHAIN), *labels.items()]  # type: ignore[attr-defined]
        self.fields["prompt"].initial = PROMPTS[category]
        if category != Category.TEXT:
            del self.fields["system"]

    def run(self, caller_key: str, **options: Any) -> Trial:
        """Send what was typed; see playground_run()."""
        typed = self.cleaned_data
        prompt = playground_prompt(self.category, typed["prompt"], system=typed.get("system", ""))
        route = self._routes.get(typed["route"])
        return playground_run(caller_key=caller_key, prompt=prompt, route=route, **options)


class PlaygroundAdmin(RouteToolsAdmin):
    """The Playground among the pages of routes."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.playground_view)
        name = f"{self.opts.app_label}_{self.opts.model_name}_playground"
        return [path("playground/<str:category>/", view, name=name), *super().get_urls()]

    def playground_view(self, request: HttpRequest, category: str) -> HttpResponseBase:
        """Show the form and what a prompt may cost; a POST sends it, or looks what became of an earlier one."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        try:
            kind = Category(category)
        except ValueError:
            raise Http404("There is no such category.") from None
        routes = playground_routes(kind)
        if request.method != "POST":
            return self._page(request, PlaygroundForm(category=kind, routes=routes), routes)
        key = request.POST.get("key", "")
        if not key.startswith(CALLER) or len(key) > 64 or "\0" in key:
            raise PermissionDenied
        form = PlaygroundForm(request.POST, category=kind, routes=routes)
        if kind == Category.TEXT and STREAM_TYPE in request.headers.get("Accept", ""):
            return self._stream(request, form, key)
        trial = form.run(key) if form.is_valid() else None
        if trial:
            self._log(request, trial)
        return self._page(request, form, routes, trial)

    def _page(
        self, request: HttpRequest, form: PlaygroundForm, routes: Sequence[ProviderConfig], trial: Trial | None = None
    ) -> HttpResponse:
        shortest = playground_prompt(form.category, PROMPTS[form.category])
        context = {
            **self.admin_site.each_context(request),
            "title": f"Playground: {form.category.value}",
            "opts": self.opts,
            "form": form,
            "is_text": form.category == Category.TEXT,
            "tabs": [
                {"title": each.value, "address": reverse(self._address("playground"), args=[each.value])}
                | {"is_shown": each == form.category}
                for each in Category
            ],
            "prices": [
                Price(route, shown_usd(route.list_price), shown_usd(prompt_costs_at_most(route, shortest)))
                for route in routes
            ],
            "key": trial.caller_key if trial and trial.is_running else new_test_key(),
            **(_result_of(trial) if trial else {}),
        }
        return TemplateResponse(request, "admin/playground.html", context)

    def _stream(self, request: HttpRequest, form: PlaygroundForm, key: str) -> HttpResponseBase:
        if not form.is_valid():
            words = [
                f"{form.fields[name].label or name}: {error}"
                for name, errors in form.errors.items()
                for error in errors
            ]
            return JsonResponse({"error": " ".join(words)}, status=400)
        response = StreamingHttpResponse(self._lines(request, form, key), content_type=STREAM_TYPE)
        response.headers["X-Accel-Buffering"] = "no"  # nginx would wait for the whole answer
        return response

    def _lines(self, request: HttpRequest, form: PlaygroundForm, key: str) -> Iterator[str]:
        shown = ""
        try:
            for news in playground_stream(lambda on_text: form.run(key, on_text=on_text)):
                if isinstance(news, Trial):
                    self._log(request, news)
                    html = render_to_string("admin/playground_result.html", _result_of(news), request)
                    yield _line(html=html, key=news.caller_key if news.is_running else new_test_key())
                elif news.startswith(shown):
                    yield _line(more=news[len(shown) :]) if news != shown else "\n"
                    shown = news
                else:
                    yield _line(text=news)
                    shown = news
        except Exception as error:  # noqa: BLE001 — the answer has begun, so no page of an error can be sent any more
            logger.error("A prompt of the Playground broke off: %s", type(error).__name__)
            yield _line(error="It broke off; the attempts say what became of it.")

    def _log(self, request: HttpRequest, trial: Trial) -> None:
        """Note in the history of the route that was asked last who has sent a prompt; not which."""
        if trial.is_running or trial.is_repeated or not trial.attempts:
            return
        last = trial.attempts[-1]
        route = ProviderConfig.objects.filter(
            category=last.category, provider=last.provider, name=last.route or last.provider
        ).first()
        if route:
            self.log_change(request, route, f"Playground: {trial}"[:500])


def _line(**news: str) -> str:
    return f"{json.dumps(news)}\n"


def _result_of(trial: Trial) -> dict[str, Any]:
    """Return what the template of a result takes."""
    media = trial.media
    source = ""
    if media and trial.content:  # its type follows from its bytes, and is one that runs no script
        source = f"data:{media.content_type};base64,{base64.b64encode(trial.content).decode()}"
    return {
        "trial": trial,
        "source": source,
        "media_kind": media.content_type.partition("/")[0] if media else "",
        "trail": [TrailLine(attempt, shown_cost(attempt.cost, attempt.reserved_cost)) for attempt in trial.attempts],
        "total": shown_cost(trial.cost, trial.cost_at_most),
    }


def shown_cost(cost: Decimal | None, at_most: Decimal | None) -> str:
    """Return a cost as people read it; where it is unknown, with the most that it can be."""
    return shown_usd(cost) if cost is not None or at_most is None else f"unknown, at most {shown_usd(at_most)}"
