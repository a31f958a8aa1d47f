"""Edits of slots, banks, queues, orders and tunables."""
