"""``./inv lint`` on this checkout, and its rule for commits in repositories of all shapes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.base.home import CHECKOUT
from pipeline.cli import commits, lint
from pipeline.host.system import process

AUTHOR = {f"GIT_{who}_{what}": f"a@{who}" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
Git = Callable[..., process.Finished]


@pytest.mark.slow
@pytest.mark.parametrize("name", lint.tools())
def test_this_checkout_is_fit(name: str) -> None:
    done = process.run(lint.tools()[name], cwd=CHECKOUT, check=False, timeout=900)
    assert done.status == 0, f"\n{done.stdout}{done.stderr}"


def test_new_commits_are_fit() -> None:
    assert commits.unfit() == []


def test_shell_scripts_are_found() -> None:
    assert CHECKOUT / "inv" in lint.scripts()


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Git:
    """Git in a new repository, which the rule takes for this checkout."""
    folder = tmp_path / "clone"

    def run(
        *words: str, check: bool = True, date: str = "2030-01-01T00:00:00Z", where: Path = folder
    ) -> process.Finished:
        dates = {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
        alone = {"GIT_CONFIG_GLOBAL": "/dev/null", "PIPELINE_VENV": str(CHECKOUT / ".venv")}
        return process.run(["git", *words], cwd=where, env={**AUTHOR, **dates, **alone}, check=check)

    folder.mkdir()
    run("init", "-q", "-b", "main")
    (folder / "pipeline").symlink_to(CHECKOUT / "pipeline")
    monkeypatch.setattr(commits, "CHECKOUT", folder)
    return run


def _commit(git: Git, message: str, **more: str) -> process.Finished:
    return git("commit", "-q", "--allow-empty", "--no-verify", "-m", message, **more)


def test_commits_since_the_rule_are_held_to_it(git: Git) -> None:
    _commit(git, "x" * 100, date="2026-11-01T00:00:00Z")
    assert commits.unfit() == []
    _commit(git, "Say what\n\nAnd why.")
    _commit(git, "Say nothing")
    (found,) = commits.unfit()
    assert "(Say nothing ...): it has no body" in found


def test_a_merge_says_nothing_of_its_own_but_its_commits_count(git: Git) -> None:
    _commit(git, "Begin\n\nSomewhere.")
    git("switch", "-q", "-c", "side")
    _commit(git, "Aside")
    git("switch", "-q", "main")
    _commit(git, "Go on\n\nHere.")
    git("merge", "-q", "--no-ff", "-m", "m" * 100, "side")
    (found,) = commits.unfit()
    assert "(Aside ...)" in found


def test_a_shallow_clone_judges_what_it_has(git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for subject in ("First", "Second"):
        _commit(git, subject)
    shallow = tmp_path / "shallow"
    git("clone", "-q", "--depth=1", f"file://{tmp_path}/clone", str(shallow))
    monkeypatch.setattr(commits, "CHECKOUT", shallow)
    (found,) = commits.unfit()
    assert "(Second ...)" in found


def test_a_folder_without_a_repository_has_no_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "CHECKOUT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commits.unfit() == []
    assert commits.install_hook() is None


def test_the_hook_refuses_at_once_also_in_another_work_tree(git: Git, tmp_path: Path) -> None:
    assert commits.install_hook() is None
    assert commits.install_hook() is None, "the second time it is there"
    refused = git("commit", "--allow-empty", "-m", "Say nothing", check=False)
    assert refused.status == 1
    assert "this commit's message is not as CONTRIBUTING.md asks\n  it has no body: say why" in refused.stderr
    git("add", "pipeline")
    git("commit", "-m", "Say what\n\nAnd why.")
    tree = tmp_path / "tree"
    git("worktree", "add", "-q", str(tree))
    assert git("commit", "--allow-empty", "-m", "Say nothing", check=False, where=tree).status == 1
    git("commit", "--allow-empty", "-m", "fixup! Say what")
    (tmp_path / "message").write_text("Say what\n\n# a comment\n# --- >8 ---\ndiff --git a/x b/x\n")
    refused = git("commit", "--allow-empty", "-F", str(tmp_path / "message"), check=False)
    assert "no body" in refused.stderr


def test_a_hook_of_the_users_own_is_left_alone(git: Git, tmp_path: Path) -> None:
    own = tmp_path / "clone/.git/hooks/commit-msg"
    own.parent.mkdir(exist_ok=True)
    own.write_text("#!/bin/sh\n")
    assert str(commits.install_hook()).startswith(f"have {own} run: ")
    assert own.read_text() == "#!/bin/sh\n"
    git("config", "core.hooksPath", str(tmp_path / "shared"))
    assert str(commits.install_hook()).startswith(f"have {tmp_path}/shared/commit-msg run: ")
    assert not (tmp_path / "shared").exists()
