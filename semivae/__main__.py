"""`python -m semivae` is the same as `semivae`."""

from semivae.cli import main

if __name__ == "__main__":
    main()
