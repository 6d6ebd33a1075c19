"""The commands of `kehu`, one module per group. Each imports what is slow only when it runs."""
