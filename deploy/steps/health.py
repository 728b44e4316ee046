"""Runs a health check, given as Docker has it: JSON, with CMD or CMD-SHELL in
front."""

import json
import subprocess
import sys

kind, *command = json.loads(sys.argv[1])
sys.exit(subprocess.run(command if kind == "CMD" else ["sh", "-c", *command]).returncode)
