"""The rules of profile as plain functions over plain values: who holds a submission, which value survives, what is shown."""
