"""`python -m ddim_lib` is the command `ddim`."""

from ddim_lib.cli import main

if __name__ == "__main__":
    main(prog_name="python -m ddim_lib")
