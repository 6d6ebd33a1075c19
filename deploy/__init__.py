"""How Kehu is run: the embedded runtime and the `kehu` command, containers, observability."""
