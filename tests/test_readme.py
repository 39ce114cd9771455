"""The README does what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

tomllib = pytest.importorskip("tomllib", reason="Python 3.11")

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_there_are_snippets() -> None:
    assert len(BLOCKS) >= 3


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_snippets_run(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {"__name__": "readme"}
    exec(compile(block, "README.md", "exec"), scope)
    if "XOR" in block:
        assert len([line for line in block.splitlines() if line.strip()]) <= 10
        assert (scope["net"].predict_classes(scope["X"]) == scope["T"].ravel()).all()


def test_commands_and_extras_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extras in re.findall(r'pip install (?:-e )?"(?:\.|fastbp)\[([\w,]+)\]"', README):
        assert set(extras.split(",")) <= set(project["optional-dependencies"])
    assert project["scripts"]["fastbp"] == "fastbp.cli:main"
    script = (ROOT / ".ci" / "run").read_text()
    tests, = re.findall(r'pip install -e "\.\[test\]" && (pytest.*)', README)
    assert tests in script.splitlines()
    for link in re.findall(r"\]\(([\w./]+)\)", README):
        assert (ROOT / link).exists(), link


def test_the_sdist_has_all_that_is_linked_and_tested() -> None:
    built = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    included = {name.lstrip("/") for name in built["targets"]["sdist"]["include"]}
    links = set(re.findall(r"\]\(([\w./]+)\)", README))
    assert "CONTRIBUTING.md" in links
    for path in links | {".ci/run", "asv.conf.json", "bench", "fastbp", "tests"}:  # tests read it
        assert path.split("/")[0] in included, path


def test_every_feature_names_a_test_that_exists() -> None:
    tables = [part.split("\n\n")[0] for part in README.split(" | test |\n")[1:]]
    rows = [line for table in tables for line in table.splitlines() if line.startswith("| ")]
    assert len(tables) >= 3 and len(rows) >= 30
    for row in rows:
        cell, file = row.rstrip("| ").rsplit("|", 1)[1], ""
        names = re.findall(r"`([\w.]*)::(\w+)`", cell)
        assert names, row
        for module, name in names:
            file = module or file
            assert f"def {name}(" in (ROOT / "tests" / file).read_text(), (file, name)
