"""Where a submission's code runs: a process and a kernel of its own, shut in."""
