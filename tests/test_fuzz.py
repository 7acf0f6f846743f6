"""Malformed files, thrown at every reader in a process of its own: one sentence, soon, in little memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
COUNT = 3000 if os.environ.get("THOROUGH") else 250
READERS = 30
ROOM = 200 << 20


def test_no_reader_shows_a_traceback_hangs_or_takes_much_memory():
    words = [sys.executable, str(HERE / "fuzz_readers.py"), "0", str(COUNT)]
    environment = os.environ | {"PYTHONPATH": str(HERE.parent)}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert told["faults"] == [] and told["readers"] == READERS
    assert told["bytes"] < ROOM, told["largest"]
    refused = sum(n for name, n in told["by"].items() if name.endswith(": refused"))
    assert refused > 0.7 * COUNT
