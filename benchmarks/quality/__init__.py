"""How well networks for tables predict, beside other libraries, on tables that packages carry."""
