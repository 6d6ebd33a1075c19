"""The published shapes: one module per publishing service, the topics, and how events travel on the wire."""
