#!/usr/bin/env python3
"""Builds the plugin: `python3 build.py` writes {{name}}.wasm. Installs what it needs into .venv, once."""

import os
import pathlib
import subprocess
import sys
import venv

APP = "plugin"
OUTPUT = "{{name}}.wasm"
# Where the plugin's modules are; the contract.
PATHS = ["src", "."]
WIT = "wit"

here = pathlib.Path(__file__).resolve().parent
environment = here / ".venv"
wanted = (here / "requirements.txt").read_text()
installed = environment / "installed.txt"

if not installed.exists() or installed.read_text() != wanted:
    venv.create(environment, with_pip=True, clear=True)
    pip = [environment / "bin" / "python", "-m", "pip", "install", "--quiet", "-r", "requirements.txt"]
    subprocess.run(pip, cwd=here, check=True)
    installed.write_text(wanted)

command = [environment / "bin" / "componentize-py", "-d", WIT, "-w", "mapper-with-invariants", "componentize"]
for path in PATHS:
    command += ["-p", path]
# No WASI: a plugin may import nothing but the contract.
command += ["--stub-wasi", APP, "-o", OUTPUT]
# Nobody else's modules, and no bytecode among the sources.
settings = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
settings["PYTHONDONTWRITEBYTECODE"] = "1"
sys.exit(subprocess.run(command, cwd=here, env=settings).returncode)
