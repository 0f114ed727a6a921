"""The stub and the README say what the module does."""

import ast
import inspect
import pathlib
import re

import bitkin

PACKAGE = pathlib.Path(bitkin.__file__).parent
README = pathlib.Path(__file__).parents[3] / "README.md"


def test_the_stub_is_of_this_module():
    assert (PACKAGE / "py.typed").exists()
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text())
    described = {"__version__", "NO_ID", "NO_DISTANCE"}
    for node in stub.body:
        if isinstance(node, ast.FunctionDef):
            compare(node, getattr(bitkin, node.name))
        elif isinstance(node, ast.ClassDef):
            compare_class(node, getattr(bitkin, node.name))
        else:
            continue
        described.add(node.name)
    assert described == set(bitkin.__all__)
    assert all(hasattr(bitkin, name) for name in bitkin.__all__)


def compare_class(node, kind):
    assert ast.get_docstring(node) == inspect.getdoc(kind), node.name
    members = [member for member in node.body if isinstance(member, ast.FunctionDef)]
    for member in members:
        # Of overloads, which differ in their types alone, the first one is documented.
        overloaded = any(ast.unparse(name) == "overload" for name in member.decorator_list)
        if not overloaded or ast.get_docstring(member):
            compare(member, getattr(kind, member.name))
    if kind in (bitkin.Database, bitkin.Collection):
        public = {name for name in vars(kind) if not name.startswith("_")}
        assert public == {m.name for m in members if not m.name.startswith("_")}


def compare(node, function):
    """Docstring, and names and defaults of parameters."""
    if node.name.startswith("__"):
        return
    assert ast.get_docstring(node) == inspect.getdoc(function), node.name
    if isinstance(function, property) or not callable(function):
        return
    typed = ast.unparse(node.args)
    for annotation in ast.walk(node.args):
        if isinstance(annotation, ast.arg):
            annotation.annotation = None
    signature = str(inspect.signature(function)).replace("/, ", "").replace(", /", "")
    assert f"({ast.unparse(node.args)})" == signature, typed


def test_the_readme_example(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    examples = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.M | re.S)
    assert examples
    for example in examples:
        exec(compile(example, str(README), "exec"), {})
