"""Mechanisms with their prices, accounting, ledgers, policy, release and verification."""
