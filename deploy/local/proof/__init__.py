"""The proof of an erasure: a person's values are looked for before and after, and the counters are counted again."""
