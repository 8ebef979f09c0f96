"""`python -m permtrain`: the command line."""

from permtrain.lab.cli.main import main

if __name__ == "__main__":
    main()
