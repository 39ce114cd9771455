"""Pages of docs/ and docstrings do what they say: code runs, cuttings exist, texts keep up."""

from __future__ import annotations

import ast
import doctest
import importlib.util
import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import fastbp
from fastbp.layers import LAYERS
from fastbp.losses import LOSSES
from fastbp.metrics import METRICS
from fastbp.optimizers import OPTIMIZERS

DOCS = Path(__file__).parent.parent / "docs"
SOURCE = Path(fastbp.__file__).parent
PAGES = sorted(p for p in DOCS.rglob("*.md")
               if not {"_build", "_generated", "reference"} & {*p.relative_to(DOCS).parts})
#: A fence, with the mark above it: "run", "needs: packages" or "not run: reason".
FENCE = re.compile(r"(?:<!-- (?P<mark>[^>]*?) -->\n)?^(?P<ticks>```+)(?P<kind>[^\n]*)\n"
                   r"(?P<body>.*?)^(?P=ticks)$", re.DOTALL | re.MULTILINE)
EXTERNAL = {"arunmallya.github.io"}


def name(page: Path) -> str:
    return page.relative_to(DOCS).as_posix()


def fences(page: Path) -> Iterator[re.Match[str]]:
    return FENCE.finditer(page.read_text(encoding="utf-8"))


def installed(mark: str) -> bool:
    wanted = mark.removeprefix("needs:").split() if mark.startswith("needs:") else []
    return all(importlib.util.find_spec(package) for package in wanted)


def shell(text: str) -> None:
    """Commands of fastbp run in this process, which has the kernels; others if they are here."""
    from fastbp.cli import main

    if text.startswith("#!"):
        own = Path("bin", "fastbp")
        own.parent.mkdir()
        own.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fastbp "$@"\n')
        own.chmod(0o755)
        path = os.pathsep.join([str(own.parent.resolve()), os.environ["PATH"]])
        subprocess.run(["sh", "-c", text], check=True, env={**os.environ, "PATH": path})
        return
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words and words[0] == "fastbp":
            assert main(words[1:]) == 0, line
        elif words and shutil.which(words[0]):
            subprocess.run(line, shell=True, check=True)


def runs(fence: re.Match[str]) -> bool:
    mark = fence["mark"] or ""
    if fence["kind"] == "python":
        return not mark.startswith("not run: ")
    return mark == "run"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_code_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page is one session: its blocks run in order, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {"__name__": "page"}
    text = page.read_text(encoding="utf-8")
    for fence in filter(runs, fences(page)):
        if not installed(fence["mark"] or ""):
            continue
        if fence["kind"] == "python":
            line = text[:fence.start("body")].count("\n")
            exec(compile("\n" * line + fence["body"], str(page), "exec"), scope)
        elif fence["kind"] == "sh":
            shell(fence["body"])
        else:
            Path(re.findall(r"[\w.]+", fence["kind"])[-1]).write_text(fence["body"])


def test_marks_and_languages_are_known() -> None:
    kinds = {"python", "sh", "text", "toml", "c", "{toctree}", "{eval-rst}", "{include}",
             "{literalinclude}", "bash", "docker"}
    for page in PAGES:
        for fence in fences(page):
            assert fence["kind"].split(" ")[0] in kinds, (name(page), fence["kind"])
            mark = fence["mark"]
            assert mark is None or re.match(r"run$|needs: \w|not run: \w", mark), (page, mark)
    assert sum(runs(fence) for page in PAGES for fence in fences(page)) >= 15


def objects(path: Path) -> set[str]:
    """Functions, classes and methods of a file by dotted name."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
            found |= {f"{node.name}.{inner.name}" for inner in ast.iter_child_nodes(node)
                      if isinstance(inner, ast.FunctionDef)}
    return found


def cuttings(page: Path) -> list[tuple[Path, str]]:
    """What a page cuts out of source files."""
    return [((page.parent / fence["kind"].split()[1]).resolve(),
             fence["body"].removeprefix(":pyobject:").split()[0])
            for fence in fences(page) if fence["kind"].startswith("{literalinclude}")]


def equations(page: Path) -> list[str]:
    """Displayed formulas, words left out."""
    found = re.findall(r"\$\$\n(.*?)\$\$", page.read_text(encoding="utf-8"), re.DOTALL)
    return ["".join(re.sub(r"\\text\{[^}]*\}", "", f).split()) for f in found]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_cuttings_exist(page: Path) -> None:
    for path, wanted in cuttings(page):
        assert wanted in objects(path), (path, wanted)


def test_the_theory_shows_both_kernels_of_each_layer_of_the_text() -> None:
    shown = {name for _, name in cuttings(DOCS / "theory.md")}
    for part in ("dense", "sigmoid", "tanh", "relu", "softmax"):
        assert {f"{part}_forward", f"{part}_backward"} <= shown
    assert {"l2", "cross_entropy", "softmax_cross_entropy", "dense_gradient"} <= shown


def test_the_chinese_pages_keep_up() -> None:
    theory, translated = DOCS / "theory.md", DOCS / "zh" / "theory.md"
    assert cuttings(theory) == cuttings(translated)
    assert equations(theory) == equations(translated) and len(equations(theory)) >= 12
    figures = re.compile(r"figures/\w+\.py")
    assert figures.findall(theory.read_text()) == figures.findall(translated.read_text())
    first = next(f for f in fences(DOCS / "zh" / "README.md") if f["kind"] == "python")
    assert first["body"] in (DOCS.parent / "README.md").read_text()


def test_the_reference_has_every_public_name() -> None:
    sys.path.insert(0, str(DOCS / "_ext"))
    try:
        import reference
    finally:
        sys.path.pop(0)
    page = reference.page()
    listed = re.findall(r"^   ([\w.]+)$", page, re.MULTILINE)
    modules = {name for name in fastbp.__all__ if isinstance(getattr(fastbp, name), ModuleType)}
    assert set(fastbp.__all__) - modules <= set(listed)
    assert modules <= {entry.split(".")[0] for entry in listed if "." in entry}
    assert "schedules.Cosine" in listed and len(listed) == len(set(listed))
    assert "## More" not in page, "a module without a place: say in reference.SAME or GROUPS where"
    assert {"callbacks.Monitor", "callbacks.Lambda", "callbacks.PrintEpoch"} <= set(listed)
    told = ("`fastbp.rules`: what a step does", "E + l1 sum|w|", *(f"`{m}`" for m in METRICS))
    assert [words for words in told if words not in page] == []
    for entry in listed:
        thing: Any = fastbp
        for part in entry.split("."):
            thing = getattr(thing, part, None) or importlib.import_module(f"fastbp.{part}")
        assert thing.__doc__
        assert {*re.findall(r"``fastbp\.(\w+\.\w+)``", thing.__doc__)} <= set(listed), entry


@pytest.mark.parametrize("kinds", [LAYERS, LOSSES, OPTIMIZERS],
                         ids=["layers", "losses", "optimizers"])
def test_parts_with_arguments_say_what_they_refuse(kinds: dict[str, type]) -> None:
    silent = [name for name, kind in kinds.items() if len(inspect.signature(kind).parameters)
              and not re.search(r"^ *Raises\n *-+\n", kind.__doc__ or "", re.MULTILINE)]
    assert not silent and len(kinds) > 5


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        text = FENCE.sub("", page.read_text(encoding="utf-8"))
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if link.startswith("http"):
                assert link.split("/")[2] in EXTERNAL, f"{name(page)}: new host in {link}"
            elif not link.startswith(("#", "_generated/")):
                assert (page.parent / link.split("#")[0]).exists(), (name(page), link)


def test_every_page_is_in_a_table_of_contents() -> None:
    listed = {"index.md"}
    for page in PAGES:
        for fence in fences(page):
            if fence["kind"] == "{toctree}":
                listed |= {name(page.parent / f"{line.split('<')[-1].rstrip('>')}.md")
                           for line in fence["body"].splitlines() if line and line[0] != ":"}
    assert {name(page) for page in PAGES} <= listed


#: Modules with examples, and the package that some need.
EXAMPLES = {".".join(path.relative_to(SOURCE.parent).with_suffix("").parts): needed
            for path in sorted(SOURCE.rglob("*.py")) if ">>> " in path.read_text()
            for needed in ["sklearn" if "estimators" in path.parts else "scipy"]}


@pytest.mark.parametrize("module", EXAMPLES)
def test_examples_in_docstrings_give_what_they_show(module: str) -> None:
    pytest.importorskip(EXAMPLES[module])
    found = doctest.testmod(importlib.import_module(module))
    assert found.attempted and not found.failed
