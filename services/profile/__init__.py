"""What do we believe about this customer now? One document per customer, folded from what its sources said."""
