"""The programs in the guide are programs."""

import re

import pytest
from conftest import demo_files
from real_daemon import ROOT
from skimage.io import imread

BLOCKS = [
    (path, block)
    for path in ("docs/python.md", "clients/python/README.md")
    for block in re.findall(r"```python\n(.*?)```", (ROOT / path).read_text(encoding="utf-8"), re.DOTALL)
]


@pytest.mark.parametrize("path", ["docs/python.md", "clients/python/README.md"])
def test_the_programs_run(path, daemon, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    image, gfp = (imread(file) for file in demo_files()[:2])
    names = {"frames": iter([image, gfp]), "image": image, "gfp": gfp, "images": [image, gfp]}
    blocks = [block for of, block in BLOCKS if of == path]
    for block in blocks:
        assert "unix:///run/cellsegd/cellsegd.sock" in block
        exec(compile(block.replace("unix:///run/cellsegd/cellsegd.sock", daemon.unix), path, "exec"), names)
    said = capsys.readouterr().out
    assert said.count("\n") >= 2 and "Error" not in said
    if path == "docs/python.md":
        assert (tmp_path / "options.toml").exists() and (tmp_path / "run1/t0001.json").exists()
        assert len(names["result"].cells) > 20 and names["account"].frames == 3


def test_every_name_that_is_exported_is_there():
    import cellsegd

    assert all(hasattr(cellsegd, name) for name in cellsegd.__all__)
