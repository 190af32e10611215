"""What may be spent: budgets, the guard that keeps them, and alarms."""
