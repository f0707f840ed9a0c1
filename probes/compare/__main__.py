# PYTHON_ARGCOMPLETE_OK
"""`python -m probes.compare TEACHER STUDENT`: the command line only."""

from probes.compare.command import run_command

if __name__ == "__main__":
    raise SystemExit(run_command())
