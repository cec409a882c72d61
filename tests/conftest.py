"""No test file leaves anything to the next: the files run in any order, on any worker.

And the command, as most of them call it, and what drives Chromium and Firefox, once a file.
"""

import process_state
import pytest


@pytest.fixture(scope="module", autouse=True)
def leaves_the_process_as_it_was(request):
    """Fails the file that changed it, not the one that runs after."""
    before = process_state.snapshot()
    yield
    left = process_state.changed(before, process_state.snapshot())
    assert not left, f"{request.path.name} leaves to the next file: {'; '.join(left)}"


@pytest.fixture
def run_ddim(capsys):
    """Runs a command in this process: (code, stdout, stderr)."""
    from ddim_lib.cli import main

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return end.value.code, out, err

    return run


@pytest.fixture(scope="module")
def playwright():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright
