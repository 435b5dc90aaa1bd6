"""The `paydown` command for operators: see docs/cli.md."""
