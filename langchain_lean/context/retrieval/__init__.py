"""From the rankings of retrievers to the sentences that are sent."""
