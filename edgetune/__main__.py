"""`python -m edgetune`: what launchers start."""

from edgetune.cli import main

if __name__ == "__main__":
    main()
