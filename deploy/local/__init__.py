"""The embedded runtime: real Kafka and MongoDB and the five services as child processes, and the `kehu` command."""
