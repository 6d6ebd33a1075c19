"""What is counted and how it is corrected: plain values, no input or output."""
