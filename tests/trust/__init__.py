"""What the promises of README and docs/architecture.md come to under abuse: docs/reliability.md."""
