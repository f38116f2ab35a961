"""Nothing in the package runs code from a file, and no file names a package registry's host."""

from __future__ import annotations

import ast

from tests.house.tree import files, name_of, parsed, python_files

# In pieces, so that this file names none either.
_HOSTS = [
    name.encode()
    for name in (
        "py" + "pi.org",
        "python" + "hosted.org",
        "npm" + "js.org",
        "npm" + "js.com",
        "download." + "pytorch.org",
        "deb." + "debian.org",
        "ana" + "conda.org",
        "crates" + ".io",
    )
]
_UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
_UNSAFE_CALLS = {"torch.load", "eval", "exec", "yaml.unsafe_load", "yaml.full_load"}


def test_no_file_names_the_host_of_a_package_registry() -> None:
    named = [name_of(path) for path in files() if any(host in path.read_bytes() for host in _HOSTS)]
    assert named == []


def test_nothing_is_read_in_a_form_that_can_run_code() -> None:
    unsafe = [
        f"{name_of(path)}:{node.lineno}: {ast.unparse(node)}"
        for path in python_files("honed")
        for node in ast.walk(parsed(path))
        if (isinstance(node, ast.Import) and {name.name for name in node.names} & _UNSAFE_MODULES)
        or (isinstance(node, ast.ImportFrom) and node.module in _UNSAFE_MODULES)
        or (isinstance(node, ast.Call) and ast.unparse(node.func) in _UNSAFE_CALLS)
        or (isinstance(node, ast.Call) and "shell=True" in map(ast.unparse, node.keywords))
    ]
    assert unsafe == []


def test_the_code_of_a_model_repository_is_never_run() -> None:
    trusting = [
        f"{name_of(path)}:{node.value.lineno}"
        for path in python_files("honed")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.keyword) and node.arg == "trust_remote_code"
        if not (isinstance(node.value, ast.Constant) and node.value.value is False)
    ]
    assert trusting == []
