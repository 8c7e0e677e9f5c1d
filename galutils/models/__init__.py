"""Networks, where their weights come from, and what they see."""
