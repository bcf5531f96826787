"""Files of the home are opened, listed and removed through its `Storage` alone."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.test_layers import modules

OF_FILES = {
    "os": {
        "access", "chmod", "fdopen", "link", "listdir", "lstat", "makedirs", "mkdir", "open",
        "path", "readlink", "remove", "removedirs", "rename", "replace", "rmdir", "scandir",
        "stat", "symlink", "truncate", "unlink", "utime", "walk",
    },
    "Path": {
        "chmod", "exists", "glob", "is_dir", "is_file", "is_symlink", "iterdir", "lstat", "mkdir",
        "open", "read_bytes", "read_text", "readlink", "rename", "resolve", "rglob", "rmdir",
        "stat", "symlink_to", "touch", "unlink", "write_bytes", "write_text",
    },
    "pq": {
        "ParquetDataset", "ParquetFile", "ParquetWriter", "read_metadata", "read_schema",
        "read_table", "write_metadata", "write_table", "write_to_dataset",
    },
    "sqlite3": {"connect"},
}  # fmt: skip
"""Functions that look at files, of the module and of paths. `replace` of one argument is a path's;
texts and days have others."""
FILE_MODULES = ("glob", "shutil", "tempfile", "pyarrow.dataset", "pyarrow.fs")
"""Modules of which every function looks at files."""
READS_WHAT_IT_IS_HANDED = re.compile(
    r"(^|\.)(access|exists|is_dir|is_file|open|path|read_\w+|resolve|stat|FileSystem"
    r"|ParquetFile|ParquetWriter|which)$"
)
"""What jobs and models do to files besides: reading and writing those that they are told of is what
they are for. What makes, lists, moves or removes any is the exception."""
OPENS_FILES_ITSELF = {
    "flows/cli/terminal.py": {
        "begin_without_home": "a folder of the machine's own, for commands that have no home",
    },
    "flows/engine/code_hash.py": dict.fromkeys(
        ("-", "_is_ours", "_module", "_path", "git_commit"),
        "the code itself, wherever it is installed",
    ),
    "flows/lifecycle/child_processes.py": {"_children": "/proc"},
    "flows/lifecycle/log_filters.py": {"_duplicate": "standard output, which is open already"},
    "flows/lifecycle/signals.py": {"_Listener._stop": "/dev/null, to fall silent"},
    "flows/mapping_check/trial.py": {
        "of_settings": "a folder of the machine's own, for a check has no home",
    },
    "flows/server/up.py": {
        "remove_old_deployments": "a template of `infra/`, which is installed with the code",
    },
    "flows/settings.py": {
        "-": "where the code itself is installed",
        "NightjarSettings._can_be_written": "the home's name, before there is a home",
        **dict.fromkeys(
            ("NightjarSettings.has_raw_logs", "NightjarSettings.raw_logs"),
            "the mapping and raw files are the user's",
        ),
    },
    "flows/state/raw_file_hashes.py": {"RawFileHashes.of": "raw files are the user's"},
    "flows/state/writer_lock.py": dict.fromkeys(("_here", "_is_ours"), "/proc"),
    "jobs/__main__.py": {"main": "a program of its own, which knows no home"},
    "jobs/landing/raw_folder.py": {"raw_files": "raw files are the user's"},
    "jobs/market/files.py": dict.fromkeys(
        ("DayFile.__init__", "simulate"), "raw files of the simulator's own"
    ),
    "jobs/market/truth.py": {"_write": "the simulator's, beside its raw files"},
    "jobs/market/outcomes.py": {"write_outcomes": "the simulator's, beside its raw files"},
    "jobs/market/preferences.py": {"write_preferences": "the simulator's, beside its raw files"},
    "jobs/spark/java.py": {"wheel_java": "the launcher that Java out of a wheel needs, in scratch"},
    "jobs/spark/scratch.py": dict.fromkeys(
        ("own_folder", "remove_left"),
        "scratch of Spark, which locks of this machine's kernel hold; the home says where",
    ),
    "jobs/spark/session.py": {"_log_settings": "a file of settings for Java, in scratch"},
    "models/__main__.py": {"main": "the report, where the flow expects it"},
    "models/artifact/encryption.py": {"write": "weights and what is sealed in their place"},
    "models/artifact/model.py": {"save_model": "the artifact's folder, which the spec names"},
    "models/content/images/folder.py": dict.fromkeys(
        ("part_of", "parts_of"), "a folder of labelled pictures is the user's"
    ),
    "models/content/images/image_model.py": {"ImageModel.save": "the artifact's folder"},
    "models/content/images/predict_folder.py": {
        "fit_folder": "decoded pixels, until there is a model",
        "predict_part": "predictions, where the user wants them",
    },
    "models/content/clean_texts.py": {"CleanTexts._rows": "clean tables, as it is handed them"},
    "models/content/content_scores.py": dict.fromkeys(
        ("_score_from", "_write", "score_days"), "rows of a table, where the run wants them"
    ),
    "models/content/cut_models.py": {"fit_cut": "the artifact's folder"},
    "models/content/text/artifact.py": {"save_text_model": "the artifact's folder"},
    "models/content/text/folder.py": dict.fromkeys(
        ("read_tasks", "_task"), "a folder of labelled texts is the user's"
    ),
    "models/content/text/predict_folder.py": {"_write": "predictions, where the user wants them"},
    "models/content/encode.py": dict.fromkeys(
        ("encode_texts", "_encode", "_join"), "the file and the scratch that its caller names"
    ),
    "models/content/encode_command.py": {"read_texts": "texts are the user's"},
    "models/distributed.py": {"run_ranks": "reports of its own ranks, which it puts together"},
    "models/evaluation/cross_validation.py": {"cross_validate": "artifacts of folds"},
    "models/evaluation/single_task_twins.py": {"single_task_twins": "artifacts of twins"},
    "models/mlflow_run.py": {"_log_model": "what MLflow copies away at once"},
    "models/released_table.py": {"write_day": "the folder of the file that the spec names"},
    "models/ranking/artifact.py": {"save_rankers": "the ranker's folder, which the spec names"},
    "models/retrieval/retrieve.py": dict.fromkeys(
        ("retrieve_days", "write_part", "_join"),
        "the folders that the spec names, with what is finished",
    ),
    "models/ranking/rank.py": dict.fromkeys(
        ("_rank_day", "_replace", "write_lists"),
        "the folders that the spec names, with what is finished",
    ),
    "models/score.py": dict.fromkeys(
        ("score", "_write"), "the folder that the spec names, with what is finished"
    ),
    "models/train.py": {"train": "the artifact's folder, which the spec names"},
    "models/training/hyperparameter_search.py": {"tune": "artifacts of trials"},
}
"""Functions outside of `flows/storage` that open files without it, and why they may; `-` is what
stands in none."""


def file_functions(path: Path) -> dict[str, set[str]]:
    """What of a module's code opens, lists, measures or removes files without a `Storage`, by the
    function or class that it stands in; `-` is none of them."""
    tree = ast.parse(path.read_text())
    whole, parts_of = _from_file_modules(tree)
    functions: dict[str, set[str]] = {}
    for outermost in tree.body:
        place = getattr(outermost, "name", "-")
        parts = [outermost]
        if isinstance(outermost, ast.ClassDef):
            parts = list(outermost.body)
        for part in parts:
            where = place if part is outermost else f"{place}.{getattr(part, 'name', '-')}"
            storages = _storages(part)
            calls = {
                call for node in ast.walk(part) if (call := _call(node, whole, parts_of, storages))
            }
            if calls:
                functions[where.removesuffix(".-")] = calls
    return functions


def _from_file_modules(tree: ast.Module) -> tuple[set[str], set[str]]:
    """Names that a module gives to `FILE_MODULES`, and those of what it imports from them."""
    whole, parts = set(), {"open"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            whole |= {a.asname or a.name for a in node.names if a.name in FILE_MODULES}
        elif isinstance(node, ast.ImportFrom):
            for a in node.names:
                if f"{node.module}.{a.name}" in FILE_MODULES:
                    whole.add(a.asname or a.name)
                elif node.module in FILE_MODULES:
                    parts.add(a.asname or a.name)
    return whole, parts


def _storages(part: ast.AST) -> set[str]:
    """Variables of a function that hold a `Storage`: by their type, or by what they are given."""
    names = {
        node.arg
        for node in ast.walk(part)
        if isinstance(node, ast.arg) and node.annotation is not None
        if ast.unparse(node.annotation) == "Storage"
    }
    for node in ast.walk(part):
        if isinstance(node, ast.Assign):
            target, value = node.targets[-1], node.value
            pairs = [(target, value)]
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                pairs = list(zip(target.elts, value.elts, strict=True))
            names |= {ast.unparse(to) for to, of in pairs if _is_storage(of, names)}
    return names


def _is_storage(node: ast.expr, storages: set[str]) -> bool:
    """Whether an expression is a `Storage`. Attributes called so are, as a test checks."""
    if isinstance(node, ast.Call):
        return ast.unparse(node.func) == "Storage"
    if isinstance(node, ast.Attribute):
        return node.attr in ("storage", "_storage")
    return isinstance(node, ast.Name) and node.id in storages


def _call(node: ast.AST, whole: set[str], parts: set[str], storages: set[str]) -> str | None:
    """How a piece of code looks at files; None if it does not."""
    if isinstance(node, ast.Name):
        return node.id if node.id in parts else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        is_of_a_path = node.func.attr == "replace" and len(node.args) == 1 and not node.keywords
        if is_of_a_path and not _is_storage(node.func.value, storages):
            return f"{ast.unparse(node.func.value)}.replace"
    if not isinstance(node, ast.Attribute) or _is_storage(node.value, storages):
        return None
    owner = ast.unparse(node.value)
    if owner == "F":  # Spark's functions of columns
        return None
    if owner in whole or node.attr in OF_FILES.get(owner, OF_FILES["Path"]):
        return f"{owner}.{node.attr}"
    return None


@pytest.mark.parametrize("layer", ["flows", "jobs", "models"])
def test_files_of_the_home_are_opened_through_its_storage(layer: str) -> None:
    opening = {
        f"{path.relative_to(REPOSITORY)}: {function}"
        for path in modules(layer)
        if not path.is_relative_to(REPOSITORY / "flows/storage")
        for function, calls in file_functions(path).items()
        if layer == "flows" or not all(READS_WHAT_IT_IS_HANDED.search(call) for call in calls)
    }
    allowed = {
        f"{path}: {function}"
        for path, functions in OPENS_FILES_ITSELF.items()
        if path.startswith(f"{layer}/")
        for function in functions
    }
    assert opening == allowed


def test_what_is_called_storage_is_a_storage() -> None:
    """Where an attribute has that name; a variable is believed for what it is given."""
    others = set()
    for path in (p for p in modules("flows") if "storage" in p.read_text()):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name in ("storage", "_storage"):
                is_storage = node.returns is not None and ast.unparse(node.returns) == "Storage"
            elif isinstance(node, ast.Assign) and any(
                isinstance(target, ast.Attribute) and target.attr in ("storage", "_storage")
                for target in node.targets
            ):
                is_storage = _is_storage(node.value, set())
            else:
                continue
            if not is_storage:
                others.add(f"{path.relative_to(REPOSITORY)}:{node.lineno}")
    assert others == set()


def test_whatever_opens_a_file_is_noticed(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("""
import os, shutil, sqlite3
import pyarrow.parquet as pq
from pyarrow import dataset as ds
from pyarrow.fs import LocalFileSystem

def opens(path, text, day):
    text.replace("a", "b"), day.replace(year=2025), path.replace(path)
    os.fdopen(3), os.environ, pq.ParquetFile(path), sqlite3.connect(path), open(path)

def libraries(path):
    ds.dataset(path), LocalFileSystem(), shutil.rmtree(path)

def by_name(storage, of: Storage, home):
    storage.exists(""), of.exists(""), home.storage.exists(""), Storage("").exists("")

def by_value(home):
    storage, path = home.storage, home.path
    storage.exists(""), path.exists()

class Reader:
    def read(self):
        self._storage.read_text(""), self.path.read_text()
""")
    assert file_functions(module) == {
        "opens": {
            "path.replace", "os.fdopen", "pq.ParquetFile", "sqlite3.connect", "open",
        },
        "libraries": {"ds.dataset", "LocalFileSystem", "shutil.rmtree"},
        "by_name": {"storage.exists"},
        "by_value": {"path.exists"},
        "Reader.read": {"self.path.read_text"},
    }  # fmt: skip
