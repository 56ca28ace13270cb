"""Runs app.py with the SDK: the first time in a virtual environment that this makes in .tools of the checkout."""

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

here = Path(__file__).resolve().parent
requirements = here / "requirements.txt"
key = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:16]
folder = here.parents[1] / ".tools" / "examples" / f"approval-{key}"
python = folder / "bin" / "python"
done = folder / ".done"

if not done.exists():
    print("installing the Dapr SDK for Python …", flush=True)
    venv.create(folder, clear=True, with_pip=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    subprocess.run([*pip, "--requirement", requirements], check=True)
    done.touch()

os.execv(python, [str(python), str(here / "app.py")])
