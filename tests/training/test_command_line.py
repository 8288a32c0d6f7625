import os
import subprocess
import sys


def test_commands_without_tyro(tmp_path):
    (tmp_path / "tyro.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'tyro'\")"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", "import training.command_line"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ratn: No module named")
    assert "Traceback" not in done.stderr
