"""Intake: is this submission well formed, allowed and complete? If so it is durable, sealed, and on its way."""
