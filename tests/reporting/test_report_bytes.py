"""Same inputs, same bytes: whatever the order of the rows and the seed of Python's hashes."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import fake_lake
from fake_lake import MANDATES, Frames, Lake
from fake_market import fake_factors

from wealthos_pipeline.reporting import collect, export, mail
from wealthos_pipeline.utils.config import MailSettings, Settings

SUPPORT = Path(fake_lake.__file__).parent
PROGRAM = f"""
import sys
sys.path[:0] = [{str(SUPPORT)!r}, {str(Path(__file__).parent)!r}]
import pickle, pathlib
import test_report_bytes as here
frames = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())
print(here.digest(here.shuffled(frames)))
"""


def digest(frames: Frames) -> str:
    """Of all forms of the page and of the message."""
    day = fake_lake.LAST
    report = collect(
        Lake(frames),
        date=day,
        info=fake_lake.fake_info(),
        settings=Settings(),
        run_id="20221228T213000Z-b2",
        mandates=MANDATES,
        factors=fake_factors(),
    )
    rendered = export.render(report)
    body = hashlib.blake2b(mail.compose(rendered, MailSettings(), day).as_bytes(), digest_size=16)
    body.update(rendered.interactive_html.encode())
    return body.hexdigest()


def shuffled(frames: Frames) -> Frames:
    """The same rows in another order."""
    return {
        name: rows.sample(fraction=1.0, shuffle=True, seed=7) if name != "meta.runs" else rows
        for name, rows in frames.items()
    }


def test_same_inputs_same_bytes(fake_lake_frames: Frames, tmp_path: Path) -> None:
    here = digest(fake_lake_frames)
    other = shuffled(fake_lake_frames)
    assert not any(
        other[n].equals(rows) for n, rows in fake_lake_frames.items() if rows.height > 50
    )
    made = tmp_path / "frames"
    made.write_bytes(pickle.dumps(fake_lake_frames))
    elsewhere = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(made)],
        env={**os.environ, "PYTHONHASHSEED": "4711", "POLARS_MAX_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert elsewhere.returncode == 0, elsewhere.stderr[-2000:]
    assert elsewhere.stdout.split()[-1] == here
