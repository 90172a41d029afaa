"""Model cards, and runs in repositories of a hub. The hub's client is the real one; only its network is replaced."""

from __future__ import annotations

import fnmatch
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import semivae
from semivae.api import Run
from semivae.cli import app
from semivae.errors import RunError

hub = pytest.importorskip("huggingface_hub")


def command(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


class FakeHub:
    """Repositories as folders below a root, and which names of files were asked for."""

    def __init__(self, root: Path) -> None:
        self.root, self.private, self.asked, self.commits = root, {}, [], 0  # type: ignore[var-annotated]

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("repo_exists", "list_repo_files", "create_repo", "create_commit"):
            method = getattr(self, name)
            monkeypatch.setattr(hub.HfApi, name, lambda _, *given, method=method, **more: method(*given, **more))
        monkeypatch.setattr(hub, "snapshot_download", self.snapshot_download)

    def repo_exists(self, repository: str) -> bool:
        return (self.root / repository).is_dir()

    def list_repo_files(self, repository: str, revision: str | None = None) -> list[str]:
        return [path.name for path in (self.root / repository).iterdir()]

    def create_repo(self, repository: str, private: bool, exist_ok: bool) -> None:
        (self.root / repository).mkdir(parents=True, exist_ok=exist_ok)
        self.private[repository] = private

    def create_commit(self, repository: str, operations: Sequence[Any], commit_message: str, revision: None) -> None:
        self.commits += 1
        for operation in operations:
            path = self.root / repository / operation.path_in_repo
            if isinstance(operation, hub.CommitOperationDelete):
                path.unlink()
            else:
                content = operation.path_or_fileobj
                path.write_bytes(content if isinstance(content, bytes) else Path(content).read_bytes())

    def snapshot_download(self, repository: str, revision: str | None, allow_patterns: list[str]) -> str:
        if not self.repo_exists(repository):
            raise hub.errors.LocalEntryNotFoundError(f"404 Client Error.\n\nno repository {repository}")
        target = self.root / "cache" / repository.replace("/", "--")
        target.mkdir(parents=True, exist_ok=True)
        for name in self.list_repo_files(repository):
            if any(fnmatch.fnmatch(name, pattern) for pattern in allow_patterns):
                shutil.copy(self.root / repository / name, target)
                self.asked.append(name)
        return str(target)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    found = FakeHub(tmp_path / "hub")
    found.install(monkeypatch)
    return found


# The card ------------------------------------------------------------------------------------------------------------


def test_a_card_says_what_the_run_measured(tiny_run: Run) -> None:
    text, report = tiny_run.card(name="tiny"), tiny_run.evaluate()
    parsed = hub.ModelCard(text)
    assert parsed.data.library_name == "semivae" and parsed.data.license is None
    assert parsed.data.pipeline_tag == "image-classification" and "semi-supervised-learning" in parsed.data.tags
    figures = {result.metric_type: result.metric_value for result in parsed.data.eval_results}
    last = report["last"]
    expected = {key: last[key] for key in ("error", "nll", "ece")}
    assert figures == pytest.approx({**expected, "accuracy": 1 - last["error"], "brier_score": last["brier"]})
    assert {(result.dataset_name, result.dataset_split) for result in parsed.data.eval_results} == {("digits", "test")}
    for scores in (last, report["twin"]):
        low, high = scores["error_interval"]
        assert f"{scores['error']:.2%} [{low:.2%}, {high:.2%}]" in parsed.text
    assert "- 50 labelled examples: 0 5, 1 5, 2 5" in parsed.text and "1,047 unlabelled examples" in parsed.text
    sets = report["sets"]
    assert f"by {sets['count']} validation examples, hold the class of {sets['covered']:.1%} [" in parsed.text
    assert 'semivae.load("tiny")' in parsed.text and "## Limits" in parsed.text
    error = max(last["per_class"].values())
    worst = next(name for name, share in last["per_class"].items() if share == error)
    assert f"The class with most errors is {worst}: {error:.1%} of its test examples." in parsed.text
    split = tiny_run.split()
    assert f"1,047 unlabelled examples, {len(split.validation)} for validation, of digits\n" in parsed.text
    assert f"- split seed 0; the data have the SHA-256 {split.dataset_digest}\n" in parsed.text
    assert "- 20 of 20 steps, " in parsed.text and "On 500 test examples that nothing was chosen on" in parsed.text


def test_a_licence_is_named_where_it_is_known(tiny_run: Run) -> None:
    assert hub.ModelCard(tiny_run.card(license="apache-2.0")).data.license == "apache-2.0"


def test_a_card_without_the_data_has_no_figures_and_names_no_folder(tiny_run: Run, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_run.path, tmp_path / "run")
    recipe = folder / "recipe.yaml"
    text = recipe.read_text().replace("name: digits", "name: arrays\n  path: gone.npz")
    recipe.write_text(text.replace("  simulate: {}\n", ""))
    text = Run.load(folder, device="cpu").card()
    assert "nothing was measured" in text and str(tmp_path) not in text
    assert not hub.ModelCard(text).data.eval_results
    assert "- 50 labelled examples" in text


def test_the_command_writes_it_once(tiny_run: Run, tmp_path: Path) -> None:
    done = command("card", tiny_run.path, "--out", tmp_path / "card.md", "--device", "cpu")
    assert done.exit_code == 0 and (tmp_path / "card.md").read_text() == tiny_run.card()
    again = command("card", tiny_run.path, "--out", tmp_path / "card.md", "--device", "cpu")
    assert again.exit_code != 0 and "exists" in again.output


# The hub -------------------------------------------------------------------------------------------------------------


def test_a_run_that_was_pushed_opens_again_and_answers_alike(tiny_run: Run, fake: FakeHub) -> None:
    done = command("push", tiny_run.path, "me/tiny", "--device", "cpu", "--json")
    assert done.exit_code == 0, done.output
    files = json.loads(done.stdout)["files"]
    assert sorted(files) == sorted(fake.list_repo_files("me/tiny")) and fake.private["me/tiny"] and fake.commits == 1
    assert "data_root.txt" not in files and {"README.md", "last.safetensors", "twin.safetensors"} <= set(files)
    assert 'semivae.load("hf://me/tiny")' in (fake.root / "me/tiny/README.md").read_text()
    images = np.random.default_rng(0).random((9, 8, 8))
    found = semivae.load("hf://me/tiny", device="cpu")
    np.testing.assert_array_equal(found.predict(images), tiny_run.predict(images))
    assert found.at("twin").checkpoint == "twin"
    np.save(fake.root / "images.npy", images)
    shown = command("predict", "hf://me/tiny", fake.root / "images.npy", "--device", "cpu")
    assert shown.exit_code == 0 and len(shown.stdout.splitlines()) == 10


def test_only_files_of_a_run_are_fetched(tiny_run: Run, fake: FakeHub) -> None:
    """Whatever else a stranger's repository holds stays there."""
    tiny_run.push("me/tiny")
    for name in ("model.pkl", "code.py", "pytorch_model.bin", "data_root.txt", "last.safetensors.py"):
        (fake.root / "me/tiny" / name).write_text("import os")
    semivae.load("hf://me/tiny@v1.0", device="cpu")
    assert {Path(name).suffix for name in fake.asked} <= {".safetensors", ".json", ".jsonl", ".yaml", ".txt"}
    assert not {"data_root.txt", "README.md"} & set(fake.asked)


def test_nothing_on_the_hub_is_replaced_unasked(tiny_run: Run, fake: FakeHub) -> None:
    tiny_run.push("me/tiny", private=False)
    assert not fake.private["me/tiny"]
    with pytest.raises(RunError, match=r"me/tiny: holds README\.md, .* already; .* --overwrite"):
        tiny_run.push("me/tiny")
    (fake.root / "me/tiny/table.json").write_text("of another run")
    (fake.root / "me/tiny/notes.txt").write_text("mine")
    tiny_run.push("me/tiny", overwrite=True)
    assert "table.json" not in fake.list_repo_files("me/tiny") and "notes.txt" in fake.list_repo_files("me/tiny")


@pytest.mark.parametrize("place", ["hf://tiny", "hf://me/tiny/more", "hf://../tiny", "hf://me/tiny@"])
def test_places_that_are_none_are_refused(place: str) -> None:
    with pytest.raises(RunError, match=r"is no run on a hub; write hf://OWNER/NAME"):
        semivae.load(place)


def test_what_the_hub_refuses_is_one_message(tiny_run: Run, fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunError, match=r"hf://me/none: cannot be fetched: 404 Client Error\.; check the name"):
        semivae.load("hf://me/none")
    with pytest.raises(RunError, match="tiny: is no name of a repository; write OWNER/NAME"):
        tiny_run.push("tiny")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(RunError, match=r"^hubs need the package huggingface_hub; pip install 'semivae\[hub\]'$"):
        semivae.load("hf://me/tiny")
