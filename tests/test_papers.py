"""The papers agree with the code: paths, the map of modules, states, tables, imports, variables, commands, words."""

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from django.apps import apps
from django.core.management import get_commands

from providers.chain.circuit_breaker import CircuitState
from providers.models import Attempt
from providers.registry import PROVIDERS
from requests_app.models import Request
from requests_app.states import TRANSITIONS
from telegram_bot.models import DeliveryState

ROOT = Path(__file__).parent.parent
PACKAGES = ("aibot", "providers", "requests_app", "telegram_bot")
PAPERS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")

FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")
PATH = re.compile(r"[\w.][\w./-]*(\.(py|md|toml|in|txt|json|html)|/)")
NAME = re.compile(r"(?:\w+\.)*(\w+)\(\)")
TREE_LINE = re.compile(r"( *)([\w./, ]+?)(?: {2,}.*)?$")
ARROW = re.compile(r"^ +(\w+|\[\*\]) --> (\w+|\[\*\])", re.MULTILINE)

EXAMPLE = "acme"  # the provider that the recipe invents
AT_RUN_TIME = {"var/", "var/media"}  # these paths are made when the product runs


def code_in(paper: Path) -> list[str]:
    """Return what a paper writes as code, blocks apart."""
    return CODE.findall(" ".join(FENCE.sub("", paper.read_text(encoding="utf-8")).split()))


def source_files() -> Iterator[Path]:
    for folder in (*PACKAGES, "tests"):
        yield from (path for path in (ROOT / folder).rglob("*") if "__pycache__" not in path.parts)


@cache
def source() -> str:
    """Return the text of all modules."""
    return "\n".join(path.read_text(encoding="utf-8") for path in source_files() if path.suffix == ".py")


@pytest.mark.parametrize("paper", PAPERS, ids=lambda path: str(path.relative_to(ROOT)))
class TestEveryPaper:
    def test_its_links_lead_somewhere(self, paper):
        links = [link for link in LINK.findall(paper.read_text(encoding="utf-8")) if "://" not in link]
        assert [link for link in links if not (paper.parent / link).exists()] == []

    def test_its_paths_exist(self, paper):
        """A path may be shortened to its end, such as `services/credits.py`."""
        known = [f"/{path.relative_to(ROOT)}" for path in source_files()]
        paths = {code for code in code_in(paper) if PATH.fullmatch(code)} - AT_RUN_TIME
        missing = {
            path
            for path in paths
            if EXAMPLE not in path and not (ROOT / path).exists()
            if not any(name.endswith(f"/{path.rstrip('/')}") for name in known)
        }
        assert missing == set()

    def test_its_functions_exist(self, paper):
        text = source()
        names = {match[1] for code in code_in(paper) if (match := NAME.fullmatch(code))}
        assert {name for name in names if not re.search(rf"\b(def|class) {name}\b", text)} == set()


def test_the_glossary_says_where_each_word_is():
    text = source()
    rows = [line for line in (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").splitlines() if "|" in line]
    codes = [code for row in rows for code in CODE.findall(row.split("|")[3])]
    names = {name for code in codes if "/" not in code for name in re.findall(r"\w+", code.removeprefix("manage.py"))}
    assert {name for name in names if not re.search(rf"\b{name}\b", text)} == set()


def tree_paths() -> set[str]:
    """Return every path that architecture.md draws as a tree."""
    block = ARCHITECTURE.split("## The tree")[1].split("```")[1]
    paths: set[str] = set()
    folders: list[str] = []
    for line in block.strip("\n").splitlines():
        match = TREE_LINE.match(line)
        assert match, line
        depth = len(match[1]) // 2
        del folders[depth:]
        for name in match[2].split(", "):
            paths.add("".join(folders) + name)
        if match[2].endswith("/"):
            folders.append(match[2])
    return paths


class TestTheTree:
    def test_every_path_in_it_exists(self):
        assert {path for path in tree_paths() if not (ROOT / path).exists()} == set()

    def test_every_module_is_in_it(self):
        """Or in a folder that is drawn without its files."""
        drawn = tree_paths()
        closed = tuple(folder for folder in drawn if folder.endswith("/") and not _has_children(folder, drawn))
        backends = {f"providers/backends/{slug}.py" for slug in PROVIDERS}
        vendors = "providers/sandbox/vendors/"
        modules = {str(path.relative_to(ROOT)) for path in source_files() if path.suffix == ".py"}
        missing = {
            module
            for module in modules - drawn - backends
            if not module.endswith("/__init__.py") and not module.startswith((*closed, vendors, "tests/"))
            if "/migrations/" not in module
        }
        assert missing == set()


def _has_children(folder: str, drawn: set[str]) -> bool:
    return any(path != folder and path.startswith(folder) for path in drawn)


def arrows(title: str) -> set[tuple[str, str]]:
    """Return the arrows of the state diagram that follows this bold title."""
    diagram = ARCHITECTURE.split(f"**{title}**")[1].split("```")[1]
    return set(ARROW.findall(diagram))


class TestTheStateDiagrams:
    def test_a_requests_arrows_are_those_of_the_state_machine(self):
        allowed = {(str(source), str(target)) for source, targets in TRANSITIONS.items() for target in targets}
        drawn = {arrow for arrow in arrows("A request") if "[*]" not in arrow}
        assert drawn <= allowed
        unmade = {("PENDING", "QUARANTINED")}
        assert allowed - drawn == unmade
        for source, target in unmade:
            assert f"{source} → {target}" in ARCHITECTURE

    @pytest.mark.parametrize(
        ("title", "states"),
        [
            ("A request", Request.Status.values),
            ("An attempt", Attempt.State.values),
            ("A delivery", DeliveryState.values),
            ("The circuit breaker", [state.name for state in CircuitState]),
        ],
    )
    def test_every_state_is_drawn_and_reached(self, title, states):
        assert {target for _, target in arrows(title)} - {"[*]"} == set(states)


def test_every_table_is_named():
    tables = {
        (model._meta.db_table, model.__name__) for name in PACKAGES for model in apps.get_app_config(name).get_models()
    }
    assert set(re.findall(r"^\| `(\w+)` \| `(\w+)` \|", ARCHITECTURE, re.MULTILINE)) == tables


def test_the_layers_are_those_that_lint_holds():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    text = " ".join(ARCHITECTURE.split())
    for contract in project["tool"]["importlinter"]["contracts"]:
        if contract["type"] == "layers":
            layers = contract["layers"]
            if contract.get("containers") == ["providers.backends"]:
                layers = ["each provider", *layers[1:]]
            assert " → ".join(layer.replace(" | ", ", ") for layer in layers) in text


def example_variables() -> set[str]:
    return set(re.findall(r"^([A-Z0-9_]+)=", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("slug", PROVIDERS)
def test_every_providers_variables_are_in_the_example(slug):
    spec = PROVIDERS[slug]
    secrets = {spec.callback.secret_variable} if spec.callback else set()
    variables = {spec.key_variable, spec.base_url_variable} | secrets
    if spec.account.admin_path:
        variables |= {spec.account.admin_variable, spec.account.admin_base_url_variable}
    assert variables - example_variables() == set()


def test_every_variable_is_explained_in_the_readme():
    table = {name for line in README.splitlines() if line.startswith("| `") for name in re.findall(r"`(\w+)`", line)}
    assert example_variables() - table == set()


def test_every_command_is_explained():
    own = {name for name, app in get_commands().items() if app in PACKAGES}
    text = " ".join(" ".join(paper.read_text(encoding="utf-8").split()) for paper in PAPERS)
    assert {name for name in own if not re.search(rf"(manage\.py|make) {name}\b", text)} == set()


def test_both_pages_make_the_same_promise():
    promise = re.search(r"\*\*The promise:\*\* (.+?)\n\n", README, re.DOTALL)
    quotation = re.search(r"^> .+?\n\n", (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8"), re.M | re.S)
    assert promise
    assert quotation
    assert promise[1].split() == quotation[0].replace("\n> ", " ").removeprefix("> ").split()
