"""What usage costs."""

from langchain_lean.accounting.prices.book import OwnPrice, PriceBook
from langchain_lean.accounting.prices.cost import Cost

__all__ = ["Cost", "OwnPrice", "PriceBook"]
