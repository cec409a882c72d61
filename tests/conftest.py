"""No test file leaves anything to the next: the files run in any order, on any worker."""

import process_state
import pytest


@pytest.fixture(scope="module", autouse=True)
def leaves_the_process_as_it_was(request):
    """Fails the file that changed it, not the one that runs after."""
    before = process_state.snapshot()
    yield
    left = process_state.changed(before, process_state.snapshot())
    assert not left, f"{request.path.name} leaves to the next file: {'; '.join(left)}"
