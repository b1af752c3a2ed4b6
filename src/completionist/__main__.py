"""`python -m completionist` is the `completionist` command."""

from completionist.cli import main

main()
