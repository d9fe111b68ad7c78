"""What every room may use: files, terminal, nearest names, TOML."""
