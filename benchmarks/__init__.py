"""Side-by-side measurements of recipes, and the tables that they produced."""
