"""`checkpoints.yaml`: what a name or a folder stands for, or one line that says why not."""

from collections.abc import Callable
from pathlib import Path

import pytest

from behavior.errors import CheckpointError
from patching.models.checkpoints import Checkpoint, read_checkpoints, resolve_checkpoint

ROLES = "teacher_plain, teacher, student_plain, student_debiased, student"


def said(action: Callable[[], object]) -> str:
    with pytest.raises(CheckpointError) as caught:
        action()
    message = str(caught.value)
    assert len(message.splitlines()) == 1, message
    return message


def write(folder: Path, checkpoints: str, version: str = "1") -> Path:
    path = folder / "checkpoints.yaml"
    path.write_text(f"version: {version}\ncheckpoints:\n{checkpoints}", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ("  t:\n    path: a\n  t:\n    path: b\n", 5, "the key 't' stands twice"),
        ("  t:\n    path: a\n    path: b\n", 5, "the key 'path' stands twice"),
        ("  t:\n    path: a\n    companions: {student: t, student: t}\n", 5, "stands twice"),
        ("  t:\n    path: a\n    colour: red\n", 5, "unknown key 'colour'; expected some of path"),
        ("  t:\n    path: a\n    colour:\n      dark: red\n", 5, "unknown key 'colour'"),
        ("  t:\n    path: 7\n", 4, "path must be text, but is 7; put it in quotes"),
        ("  t:\n    path: yes\n", 4, "path must be text, but is yes; put it in quotes"),
        ("  t:\n    path: 2024-01-02\n", 4, "but is 2024-01-02; put it in quotes"),
        ("  t:\n    path: 2024-99-02\n", 4, "'2024-99-02' cannot be read as timestamp"),
        ("  t:\n    path:\n", 4, "path must be text, but is nothing."),
        ("  t:\n    path: ''\n", 4, "path must be text, but is ''."),
        ("  t:\n    path:\n      - a\n", 4, "path must be text, but is a list."),
        ("  t:\n    path:\n      a: b\n", 4, "path must be text, but is a mapping."),
        ("  t:\n    path: a\n    description: 1.5\n", 5, "description must be text, but is 1.5"),
        ("  t:\n    path: a\n    task: [b]\n", 5, "task must be text, but is a list."),
        ("  t:\n    hub: a/b\n    revision: 3\n", 5, "revision must be text, but is 3"),
        ("  t: &t\n    path: a\n  s:\n    <<: *t\n", 6, "'<<' cannot be read as merge"),
        ("  7:\n    path: a\n", 3, "a key must be text, but is 7; put it in quotes"),
        ("  t:\n", 3, "t must be a mapping (key: value), but is nothing"),
        ("  t: a\n", 3, "t must be a mapping (key: value), but is 'a'"),
        ("  - t\n", 2, "checkpoints must be a mapping (key: value), but is a list"),
        ("  t:\n    task: nli\n", 3, "'t' needs either a path or a hub id, and not both"),
        ("  t:\n    path: a\n    hub: a/b\n", 3, "either a path or a hub id, and not both"),
        ("  t:\n    path: a\n    revision: v2\n", 5, "revision belongs to a hub id"),
        ("  t:\n    hub: a/b/c\n", 4, "'a/b/c' is not a hub id; expected org/name"),
        ("  t:\n    hub: a/b@v2\n", 4, "'a/b@v2' is not a hub id"),
        ("  t:\n    path: a\n    role: boss\n", 5, f"unknown role 'boss'; expected one of {ROLES}"),
        ("  t:\n    path: a\n    teacher: u\n", 5, "'u' is not a checkpoint of this file (t)"),
        ("  t:\n    path: a\n    companions: u\n", 5, "companions must be a mapping"),
        ("  t:\n    path: a\n    companions:\n      boss: t\n", 6, "unknown role 'boss'"),
        ("  t:\n    path: a\n    companions:\n      student: u\n", 6, "'u' is not a checkpoint"),
        ("  t:\n    path: $HOME/a\n", 4, "environment variables are not expanded"),
        ("  t:\n    path: ~nobody-of-this-name/a\n", 4, "home of a user that is not known"),
        ("  t: {path: *t}\n", 3, "not valid YAML (found undefined alias 't')"),
        ("  t:\n    path: a\n    prompt: 3\n", 5, "prompt must be text, but is 3"),
        (
            "  t:\n    path: a\n    prompt: '{premise} {hypo}'\n",
            5,
            "The prompt '{premise} {hypo}' has the field {hypo}. Expected a text with {text}",
        ),
        (
            "  t:\n    path: a\n    label_words:\n      e: yes\n",
            6,
            "e must be text, but is yes; put it in quotes",
        ),
        (
            "  t:\n    path: a\n    label_words:\n      - 'yes'\n      - no\n",
            7,
            "a value of label_words must be text, but is no; put it in quotes",
        ),
        (
            "  t:\n    path: a\n    label_words: 'yes'\n",
            5,
            "label_words must be a mapping (key: value), but is 'yes'",
        ),
        ("\tt: a\n", 3, "not valid YAML"),
        ("  t: [\n", 4, "not valid YAML"),
    ],
)
def test_a_file_that_breaks_the_schema_is_told_by_its_line(
    tmp_path: Path, content: str, line: int, words: str
) -> None:
    path = write(tmp_path, content)
    message = said(lambda: read_checkpoints(path))
    assert message.startswith(f"{path}, line {line}: ")
    assert words in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty. Expected version: 1 and checkpoints."),
        (b"# nothing\n", "is empty"),
        (b"- a\n", "line 1: the file must be a mapping (key: value), but is a list"),
        (b"a: b: c\n", "line 1: not valid YAML (mapping values are not allowed here)"),
        (b"version: 1\n---\nversion: 1\n", "line 2: not valid YAML (but found another document)"),
        (b"version: 1\x00\n", "is not valid YAML (unacceptable character"),
        (b"\xff\xfe\xfa", "it is not UTF-8 text"),
        (b"version: 1\n", "line 1: the key 'checkpoints' is missing"),
        (b"checkpoints: {}\n", "line 1: the key 'version' is missing"),
        (b"version: 1\n\nchekpoints: {}\ncheckpoints: {}\n", "line 3: unknown key 'chekpoints'"),
        (b"version: 1\n\nversion: 1\n", "line 3: the key 'version' stands twice"),
    ],
)
def test_a_file_that_is_no_list_of_checkpoints(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    message = said(lambda: read_checkpoints(path))
    assert words in message and str(path) in message


@pytest.mark.parametrize(
    ("version", "shown"), [("2", "2"), ("'1'", "'1'"), ("true", "true"), ("[1]", "a list")]
)
def test_only_version_one_is_read(tmp_path: Path, version: str, shown: str) -> None:
    path = write(tmp_path, "  t: {path: a}\n", version)
    expected = f"{path}, line 1: version {shown} is not known; expected version: 1."
    assert said(lambda: read_checkpoints(path)) == expected


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    assert "No such file" in said(lambda: read_checkpoints(tmp_path / "none.yaml"))
    assert "Is a directory" in said(lambda: read_checkpoints(tmp_path))


def test_every_field_arrives(tmp_path: Path) -> None:
    content = (
        "  t: {path: a, role: teacher, task: nli-overlap, description: Made by hand.}\n"
        "  s: {hub: org/name, revision: v2, teacher: t, companions: {teacher_plain: t}}\n"
    )
    assert read_checkpoints(write(tmp_path, content)) == {
        "t": Checkpoint(
            name="t",
            folder=tmp_path / "a",
            role="teacher",
            task="nli-overlap",
            description="Made by hand.",
        ),
        "s": Checkpoint(
            name="s",
            hub="org/name",
            revision="v2",
            teacher="t",
            companions={"teacher_plain": "t"},
        ),
    }


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("{entailment: 'yes', other: 'no'}", {"entailment": "yes", "other": "no"}),
        ("['yes', 'no']", ("yes", "no")),
    ],
)
def test_a_prompt_and_label_words_arrive(
    tmp_path: Path, written: str, words: dict[str, str] | tuple[str, ...]
) -> None:
    content = f"  t: {{path: a, prompt: 'read: {{text}}', label_words: {written}}}\n"
    found = read_checkpoints(write(tmp_path, content))["t"]
    assert (found.prompt, found.label_words) == ("read: {text}", words)


def test_paths_are_relative_to_the_file_and_not_to_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    for place in (home / "mine", elsewhere, tmp_path / "models"):
        place.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(elsewhere)
    content = (
        f"  r: {{path: models}}\n  a: {{path: {tmp_path / 'models'}}}\n  h: {{path: ~/mine}}\n"
    )
    path = write(tmp_path, content)
    found = {name: resolve_checkpoint(name, path).folder for name in ("r", "a", "h")}
    assert found == {"r": tmp_path / "models", "a": tmp_path / "models", "h": home / "mine"}


@pytest.mark.parametrize(
    ("record", "task"),
    [
        ('{"recipe": {"data": {"task": "nli-overlap", "options": {"rho": 0.9}}}}', "nli-overlap"),
        ('{"recipe": {"data": {"task": "digits"}}}', "digits"),
        ('{"recipe": {"data": {"task": "hans", "options": {"path": "a.tsv"}}}}', None),
        ('{"recipe": {"data": {"task": "mixture", "options": {"parts": []}}}}', None),
        ('{"recipe": {"data": {"task": ["nli"]}}}', None),
        ('{"recipe": "teacher"}', None),
        ('{"epochs": 3}', None),
        ("not json", None),
        (None, None),
    ],
)
def test_a_folder_says_itself_what_it_was_trained_on(
    tmp_path: Path, record: str | None, task: str | None
) -> None:
    if record is not None:
        (tmp_path / "training.json").write_text(record)
    assert resolve_checkpoint(tmp_path).task == task


def test_a_named_folder_that_is_gone_is_told_by_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, "  here: {path: .}\n  t:\n    role: teacher\n    path: gone\n")
    message = said(lambda: resolve_checkpoint("t", path))
    expected = f"{path}, line 6: the folder of 't' does not exist: {tmp_path / 'gone'}."
    assert message == expected
    assert resolve_checkpoint("here", path).folder == tmp_path


def test_a_name_comes_before_a_folder_and_a_folder_before_a_hub_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for place in ("t", "models/t", "org/name"):
        Path(place).mkdir(parents=True)
    path = write(tmp_path, "  t: {path: models/t}\n")
    assert resolve_checkpoint("t").folder == path.parent / "models/t"
    assert resolve_checkpoint("./t").folder == Path("t")
    assert resolve_checkpoint("org/name").folder == Path("org/name")
    other = resolve_checkpoint("org/other@v2.1")
    assert (other.folder, other.hub, other.revision) == (None, "org/other", "v2.1")
    assert other.location == "org/other@v2.1"


@pytest.mark.parametrize(
    "reference", ["techer", "./techer", "/techer", "~/techer", "a/b/c", "a/b@", "t" * 300, "t\0"]
)
def test_what_is_neither_name_nor_folder_nor_hub_id(tmp_path: Path, reference: str) -> None:
    path = write(tmp_path, "  teacher: {path: .}\n  student: {path: .}\n")
    message = said(lambda: resolve_checkpoint(reference, path))
    assert f"{reference!r} is neither a name, a local folder nor a hub id" in message
    assert f"{path} has teacher, student." in message
    assert ("Did you mean 'teacher'?" in message) == ("techer" in reference)


def test_the_bundled_names_are_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    student = resolve_checkpoint("student")
    assert (student.role, student.teacher) == ("student", "teacher")
    assert student.companions == {
        "student_plain": "student-plain",
        "student_debiased": "student-debiased",
    }
