"""The tutorial does what it says, and prints what stands there."""

import contextlib
import io
import pathlib
import re

TUTORIAL = pathlib.Path(__file__).parents[1] / "tutorial.md"
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:```text\n(.*?)^```\n)?", re.M | re.S)


def test_the_tutorial(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    surroundings = {}
    text = TUTORIAL.read_text()
    blocks = list(BLOCK.finditer(text))
    assert len(blocks) == text.count("```python")
    for block in blocks:
        line = text.count("\n", 0, block.start()) + 1
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * line + block[1], str(TUTORIAL), "exec"), surroundings)
        assert printed.getvalue() == (block[2] or ""), f"{TUTORIAL}:{line}"
