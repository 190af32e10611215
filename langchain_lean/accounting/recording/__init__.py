"""From what LangChain tells a callback to what a ledger keeps."""
