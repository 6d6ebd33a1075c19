"""Analytics: exact figures about customers, submissions and orders, without knowing anybody."""
